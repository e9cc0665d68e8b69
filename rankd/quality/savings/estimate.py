"""What ranking saved, with intervals: observed latencies, and what the two replays of them differ by.

A figure in arrival order is the observed one plus the difference between the two replays. The replay's own error is in
both of them, and cancels as far as it is the same. How far off it is shows in the replay that keeps the order: that
is held against what was observed, as a whole and by stretches of time, and what is found goes into the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import ServiceCosts

from rankd.quality.savings.replayed_pair import ReplayedPair, replay_both
from rankd.quality.savings.sample import SavingsSample
from rankd.quality.savings.values import (
    QUARTERS,
    LatencyFigure,
    LatencyMeasure,
    LatencyStatistic,
    PayerFigure,
    SavedTotal,
    SavingsEstimate,
)
from rankd.quality.statistics.interval import Interval

Floats = NDArray[np.float64]
_Columns = tuple[Floats, Floats, Floats]
"""As observed, replayed as started, and by arrival."""

_NO_QUEUE = 0.02
"""A mean wait up to this share of the mean latency is none."""
_SLOWER = 0.01
"""Later by up to this share of the mean latency is no later."""
_STRETCHES = 8
_QUANTILES = {LatencyStatistic.P50: 0.5, LatencyStatistic.P90: 0.9, LatencyStatistic.P99: 0.99}


@dataclass(frozen=True, slots=True)
class Doubt:
    """What makes an interval wide: factors on what is measured, as simulation has them (docs/science/savings.md)."""

    whole: float
    """On the replay's error over all requests."""
    stretches: float
    """On the standard error of its errors by stretches."""
    difference: float
    """On what the replays differ by."""
    spread: float
    """On what requests of the compared part wait, over the root of how many there are."""

    def reach(self, whole: float, stretches: float, difference: float, spread: float) -> float:
        """Half of the interval."""
        parts = self.whole * whole, self.stretches * stretches, self.difference * difference, self.spread * spread
        return math.hypot(*parts)


DOUBTS = {
    LatencyStatistic.MEAN: Doubt(1.0, 1.0, 0.3, 1.0),
    LatencyStatistic.P50: Doubt(1.0, 1.0, 0.3, 1.0),
    LatencyStatistic.P90: Doubt(1.0, 1.0, 0.3, 1.0),
    LatencyStatistic.P99: Doubt(1.0, 1.0, 0.3, 1.0),
}


def estimate_savings(
    sample: SavingsSample, costs: ServiceCosts | None, now: float, counted_until: float = -math.inf
) -> SavingsEstimate | None:
    """What ranking saved the requests of a sample; None where too few of them can be compared.

    Args:
        sample: completions of a served model.
        costs: what its engine takes for a request, as learned; None where that is not known.
        now: by the clock of the sample.
        counted_until: arrivals up to then are in the running total already.
    """
    pair = replay_both(sample, costs, now)
    return None if pair is None else figures_of(pair, counted_until)


def figures_of(pair: ReplayedPair, counted_until: float = -math.inf) -> SavingsEstimate:
    """The figures of two replays."""
    latencies = []
    for measure in LatencyMeasure:
        columns = _columns(pair, measure)
        latencies += [_figure(measure, statistic, columns, pair.exact) for statistic in LatencyStatistic]
    mean = float(pair.observed.end_to_end.mean())
    later = pair.as_started.end_to_end - pair.by_arrival.end_to_end
    slower = later > _SLOWER * mean
    return SavingsEstimate(
        since=float(pair.arrival[0]),
        until=pair.until,
        newest=_newest(pair, latencies[0].saved, counted_until),
        completions=len(later),
        queued=float(pair.waited.mean()) > _NO_QUEUE * mean,
        queued_share=float((pair.waited > 0).mean()),
        latencies=tuple(latencies),
        payers=tuple(_payers(pair)),
        slower_share=float(slower.mean()),
        slower_by=float(later[slower].mean()) if slower.any() else 0.0,
    )


def _newest(pair: ReplayedPair, mean: Interval, counted_until: float) -> SavedTotal | None:
    """What those were saved that are in no total yet, as surely as all are: its error is the replay's, of one sign."""
    new = pair.arrival > counted_until
    count = int(new.sum())
    if not count:
        return None
    value = float((pair.by_arrival.end_to_end - pair.as_started.end_to_end)[new].sum())
    reach = count * (mean.high - mean.low) / 2
    return SavedTotal(
        since=float(pair.arrival[new].min()),
        until=float(pair.arrival[new].max()),
        seconds=Interval(value, value - reach, value + reach),
        completions=count,
    )


def _columns(pair: ReplayedPair, measure: LatencyMeasure) -> _Columns:
    observed, real, other = (getattr(one, measure.value) for one in (pair.observed, pair.as_started, pair.by_arrival))
    return observed, real, other


def _figure(measure: LatencyMeasure, statistic: LatencyStatistic, columns: _Columns, exact: bool) -> LatencyFigure:
    observed, real, other = columns
    seen = _of(statistic, observed)
    saved = _of(statistic, other) - _of(statistic, real)
    reach = 0.0 if exact else DOUBTS[statistic].reach(*doubts_of(statistic, observed, real, other))
    return LatencyFigure(measure, statistic, seen, seen + saved, Interval(saved, saved - reach, saved + reach))


def doubts_of(
    statistic: LatencyStatistic, observed: Floats, real: Floats, other: Floats
) -> tuple[float, float, float, float]:
    """What is measured of the replay's error, as ``Doubt`` has it."""
    errors = [
        _of(statistic, part) - _of(statistic, again)
        for part, again in zip(np.array_split(observed, _STRETCHES), np.array_split(real, _STRETCHES), strict=True)
    ]
    whole = abs(_of(statistic, observed) - _of(statistic, real))
    difference = abs(_of(statistic, other) - _of(statistic, real))
    spread = float(np.std(other - real)) / math.sqrt(len(real))
    return whole, float(np.std(errors)) / math.sqrt(_STRETCHES), difference, spread


def _of(statistic: LatencyStatistic, values: Floats) -> float:
    quantile = _QUANTILES.get(statistic)
    return float(values.mean()) if quantile is None else float(np.quantile(values, quantile))


def _payers(pair: ReplayedPair) -> list[PayerFigure]:
    """By quarter of work, the shortest first."""
    order = np.argsort(pair.work, kind="stable")
    figures = []
    for label, part in zip(QUARTERS, np.array_split(order, len(QUARTERS)), strict=True):
        by_arrival = np.sort(part)
        observed, real, other = _columns(pair, LatencyMeasure.END_TO_END)
        columns = observed[by_arrival], real[by_arrival], other[by_arrival]
        figure = _figure(LatencyMeasure.END_TO_END, LatencyStatistic.MEAN, columns, pair.exact)
        figures.append(PayerFigure(label, len(part), figure.saved))
    return figures
