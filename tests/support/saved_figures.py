"""What ranking saved, as a daemon would have found it, to be put in its place: the estimate has tests of its own."""

import time

from rankd.quality import Interval
from rankd.quality.savings.values import (
    QUARTERS,
    LatencyFigure,
    LatencyMeasure,
    LatencyStatistic,
    PayerFigure,
    SavedTotal,
    SavingsEstimate,
)

_OBSERVED = {LatencyMeasure.END_TO_END: 6.2, LatencyMeasure.FIRST_TOKEN: 2.0, LatencyMeasure.PER_TOKEN: 0.041}
_SPREAD = {LatencyStatistic.MEAN: 1, LatencyStatistic.P50: 0.5, LatencyStatistic.P90: 2.3, LatencyStatistic.P99: 5}


def saved(mean, half, *, tail=-0.4, queued=True):
    """Figures of which the mean is so many seconds, give or take ``half``, and p99's ``tail``, give or take .3."""
    latencies = []
    for measure, observed in _OBSERVED.items():
        for statistic, spread in _SPREAD.items():
            value, width = (tail, 0.3) if statistic is LatencyStatistic.P99 else (mean, half)
            scale = observed / 6.2
            found = Interval(value * scale, (value - width) * scale, (value + width) * scale)
            latencies.append(
                LatencyFigure(measure, statistic, observed * spread, observed * spread + found.value, found)
            )
    payers = tuple(
        PayerFigure(name, 777, Interval(v, v - 0.5, v + 0.5))
        for name, v in zip(QUARTERS, (3.9, 2.4, 1.2, -0.6), strict=True)
    )
    now = time.time()
    return SavingsEstimate(now - 1800, now, 3108, queued, 0.62, tuple(latencies), payers, 0.18, 0.62, None)


def total(seconds):
    """All that was saved in two days."""
    return SavedTotal(time.time() - 2 * 86400, time.time(), Interval(seconds, 0.9 * seconds, 1.1 * seconds), 41_234)
