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
    """What makes an interval wide: factors on what is measured.

    They are such that 95 % of intervals held the truth on simulated engines (docs/science/savings.md). Errors of the
    replay have long tails, and stretches of time are few: so factors are larger than a normal law would have them.
    """

    whole: float
    """On the replay's error over all requests."""
    stretches: float
    """On the standard error of its errors by stretches of time."""
    difference: float
    """On what the two replays differ by."""
    spread: float
    """On the standard error of what single requests differ by."""
    edges: float
    """On what requests wait, where somebody waited when the compared stretch began or ended."""


DOUBTS = {
    LatencyStatistic.MEAN: Doubt(0.7, 11.0, 0.29, 1.8, 0.025),
    LatencyStatistic.P50: Doubt(2.1, 9.5, 0.37, 0.6, 0.03),
    LatencyStatistic.P90: Doubt(2.0, 11.5, 0.2, 7.3, 0.02),
    LatencyStatistic.P99: Doubt(3.3, 14.0, 0.16, 12.0, 0.0),
}
_UNSTEADY = 1.5
"""Intervals are wider by this where memory may be short: who loses it is read anew, which no replay knows of."""
_FINEST = 0.005
"""Of a figure: no replay tells less."""
_MEASURES = {LatencyMeasure.END_TO_END: 0.85, LatencyMeasure.FIRST_TOKEN: 1.1, LatencyMeasure.PER_TOKEN: 1.05}
"""And by this: reports tell the end best, and nothing of when the first token came."""
_QUEUE = 0.1
"""Of the mean latency: where requests wait for less, the replay's error counts for less in proportion."""


def estimate_savings(
    sample: SavingsSample,
    costs: ServiceCosts | None,
    now: float,
    *,
    bounded: bool = True,
    counted_until: float = -math.inf,
) -> SavingsEstimate | None:
    """What ranking saved the requests of a sample; None where too few of them can be compared.

    Args:
        sample: completions of a served model.
        costs: what its engine takes for a request, as learned; None where that is not known.
        now: by the clock of the sample.
        bounded: whether patience bounds how long a request waits for others.
        counted_until: arrivals up to then are in the running total already.
    """
    pair = replay_both(sample, costs, now, bounded=bounded)
    return None if pair is None else figures_of(pair, counted_until)


def figures_of(pair: ReplayedPair, counted_until: float = -math.inf) -> SavingsEstimate:
    """The figures of two replays."""
    latencies = []
    for measure in LatencyMeasure:
        columns = _columns(pair, measure)
        latencies += [_figure(measure, statistic, columns, pair) for statistic in LatencyStatistic]
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


def _figure(
    measure: LatencyMeasure, statistic: LatencyStatistic, columns: _Columns, pair: ReplayedPair
) -> LatencyFigure:
    observed, real, other = columns
    seen = statistic_of(statistic, observed)
    saved = statistic_of(statistic, other) - statistic_of(statistic, real)
    reach = 0.0 if pair.exact else _MEASURES[measure] * _reach(measure, statistic, columns, pair)
    return LatencyFigure(measure, statistic, seen, seen + saved, Interval(saved, saved - reach, saved + reach))


def _reach(measure: LatencyMeasure, statistic: LatencyStatistic, columns: _Columns, pair: ReplayedPair) -> float:
    """Half of an interval, by what is measured of the replay's error."""
    doubt, (observed, real, other) = DOUBTS[statistic], columns
    seen, again = statistic_of(statistic, observed), statistic_of(statistic, real)
    parts = zip(np.array_split(observed, _STRETCHES), np.array_split(real, _STRETCHES), strict=True)
    errors = [statistic_of(statistic, part) - statistic_of(statistic, replayed) for part, replayed in parts]
    waits = float(pair.waited.mean()) / max(float(pair.observed.end_to_end.mean()), 1e-12)
    counts = min(1.0, waits / _QUEUE) if pair.steady else 1.0
    reach = math.hypot(
        doubt.whole * counts * abs(seen - again),
        doubt.stretches * counts * float(np.std(errors)) / math.sqrt(_STRETCHES),
        doubt.difference * abs(statistic_of(statistic, other) - again),
        doubt.spread * float(np.std(other - real)) / math.sqrt(len(real)),
        _FINEST * seen,
        0.0 if pair.steady else _run_error(measure, observed, pair),
        0.0 if pair.stretch.begun and pair.stretch.closed else doubt.edges * waits * seen,
    )
    return reach if pair.steady else _UNSTEADY * reach


def _run_error(measure: LatencyMeasure, observed: Floats, pair: ReplayedPair) -> float:
    """How far off the replay is of a mean request: runs that were broken off show in that, and in no wait."""
    whole = float(pair.observed.end_to_end.mean())
    error = abs(whole - float(pair.as_started.end_to_end.mean()))
    return error * float(observed.mean()) / max(whole, 1e-12) if measure is LatencyMeasure.PER_TOKEN else error


def statistic_of(statistic: LatencyStatistic, values: Floats) -> float:
    """The mean, or a quantile."""
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
        figure = _figure(LatencyMeasure.END_TO_END, LatencyStatistic.MEAN, columns, pair)
        figures.append(PayerFigure(label, len(part), figure.saved))
    return figures
