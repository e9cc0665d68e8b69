"""A stream of completions through the real ``Adaptation``, and how well it was ordered by what was in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, LearnedCompletion

Floats = NDArray[np.float64]

BLOCK = 32
"""Completions that are predicted at once: what is learned changes no more often."""


@dataclass(frozen=True, slots=True)
class Served:
    """How requests were ordered: columns of [n]."""

    base: Floats
    learned: Floats
    """NaN where nothing was learned yet."""
    in_use: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    left_out: int

    def agreement(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Tau of the ranker alone, and of what was in use, over the pairs of some rows.

        A pair is ordered by what is in use when the later one arrives: at a switch all that wait are ordered anew.
        """
        length = _signs(self.tokens[rows])
        base, learned = _signs(self.base[rows]), _signs(np.nan_to_num(self.learned[rows]))
        later = np.maximum(np.arange(len(rows))[:, None], np.arange(len(rows))[None, :])
        used = np.where(self.in_use[rows][later], learned, base)
        return _tau(base, length), _tau(used, length)


def served(adaptation: Adaptation, completions: Sequence[LearnedCompletion]) -> Served:
    """Predict and learn, one block after the other, a second apart."""
    size = len(completions)
    base = np.array([one.score for one in completions])
    learned, in_use, left_out = np.full(size, np.nan), np.zeros(size, bool), 0
    for start in range(0, size, BLOCK):
        part, at = completions[start : start + BLOCK], slice(start, min(start + BLOCK, size))
        learned[at] = adaptation.scores(base[at], [one.features for one in part])
        in_use[at] = adaptation.in_use
        for second, (one, own) in enumerate(zip(part, learned[at].tolist(), strict=True), start=start):
            adaptation.completed(replace(one, at=float(second), learned=own))
        if (work := adaptation.job(float(start + BLOCK))) is not None:
            adaptation.take(work(), float(start + BLOCK))
            left_out = adaptation.status.left_out
    tokens = np.array([one.tokens for one in completions])
    return Served(base, learned, in_use, tokens, left_out)


Signs = NDArray[np.int8]


def _signs(values: NDArray[np.float64] | NDArray[np.int64]) -> Signs:
    return np.sign(values[:, None] - values[None, :]).astype(np.int8)


def _tau(order: Signs, length: Signs) -> float:
    untied = np.count_nonzero(order) * np.count_nonzero(length)
    return float((order * length).sum(dtype=np.int64)) / max(math.sqrt(untied), 1.0)
