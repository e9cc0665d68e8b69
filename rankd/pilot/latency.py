"""Latency of one slot's requests, some of which have not ended.

Latencies are compared as min(latency, horizon). A slot is measured when all its requests ended, or ``horizon`` after
its end; by then each is known that far, so that a long one that still runs is neither left out nor guessed. Only who
gave up before (cancelled, aborted) is censored: those are counted by the product-limit estimator (Kaplan and Meier
1958), as requests that would have gone on as others did that had waited as long.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROUNDING = 1e-9
_LEAST = 1e-6
"""Seconds; a latency of 0 has no logarithm."""


class LatencyMetric(enum.Enum):
    """What of a slot's latencies is compared."""

    MEAN = "mean"
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"


METRICS = tuple(LatencyMetric)
_QUANTILES = (0.5, 0.9, 0.99)


def summarise(latency: Floats, ended: Bools, horizon: float) -> Floats:
    """Mean, p50, p90 and p99 of min(latency, horizon), in the order of ``METRICS``.

    Args:
        latency: [n] seconds, n > 0; of a request that has not ended or that gave up, so far.
        ended: [n] whether it was served to its end.
        horizon: seconds; latencies are compared up to here.

    Returns:
        [4] seconds, above 0. A quantile that is not reached by ``horizon`` is ``horizon``: at least that.
    """
    size = len(latency)
    time = np.minimum(latency, horizon)
    event = ended & (latency < horizon)
    order = np.lexsort((~event, time))  # of equal times, ends come before those that gave up
    time, event = time[order], event[order]
    at_risk = np.arange(size, 0, -1)
    survival = np.cumprod(np.where(event, 1.0 - 1.0 / at_risk, 1.0))
    steps = np.diff(np.concatenate(([0.0], time, [horizon])))
    mean = float(steps @ np.concatenate(([1.0], survival)))
    quantiles = []
    for share in _QUANTILES:
        reached = np.flatnonzero(survival <= 1.0 - share + _ROUNDING)
        quantiles.append(float(time[reached[0]]) if len(reached) else horizon)
    figures: Floats = np.maximum(np.array([mean, *quantiles]), _LEAST)
    return figures
