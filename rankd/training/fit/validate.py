"""How well scores order the rows of a validation set, whatever sources and models it mixes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.kendall import tau_b
from rankd.training.data.lists import EncodedRows

_FEWEST = 8
"""Rows of a group below which its tau is noise."""


def group_tau(scores: NDArray[np.float64], encoded: EncodedRows) -> float | None:
    """tau-b within each source and model, averaged by rows; None where no group has an order.

    Lengths of different models share no scale, so that an order across groups means nothing. A row that was cut counts
    by its bound: it is a figure to compare epochs by, and the bound is too low for all of them.

    Args:
        scores: [n].
        encoded: the rows.
    """
    total, weight = 0.0, 0
    for group in np.unique(encoded.groups):
        here = encoded.groups == group
        size = int(here.sum())
        tau = tau_b(scores[here], encoded.tokens[here].astype(np.float64)) if size >= _FEWEST else None
        if tau is not None:
            total, weight = total + size * tau, weight + size
    return total / weight if weight else None
