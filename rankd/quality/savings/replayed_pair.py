"""Completions replayed twice by the engine that was learned: in the order in which they started, and by arrival."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import ServiceCosts

from rankd.quality.savings.replay import ReplayedTimes, ReplayLoad, replay_around
from rankd.quality.savings.sample import SavingsSample, Stretch, stretch_of
from rankd.quality.savings.surroundings import Surroundings, surroundings_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SPEEDS = (0.85, 1.18)
"""Of the replayed engine: what its surroundings say is no further off."""
_TRIES = 7
_CLOSE = 0.01
"""Error of the mean wait that is good enough."""
_NO_WORK = 1e-6
_STEADY = 0.2
"""Relative standard deviation of how many run while others wait, up to which it is places that are short."""
LEAST_COMPARED = 100
"""Requests, below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of requests that are compared, seconds, [n]."""

    end_to_end: Floats
    first_token: Floats
    per_token: Floats


@dataclass(frozen=True, slots=True)
class ReplayedPair:
    """What requests took, and what they take in the replay, by arrival, [n] of those that are compared."""

    stretch: Stretch
    observed: Latencies
    as_started: Latencies
    """Replayed in the order in which they started: as far off from what was observed as the replay is."""
    by_arrival: Latencies
    arrival: Floats
    waited: Floats
    """Beyond what is no wait."""
    work: Floats
    """Seconds of the engine, prompt and answer: what quarters are made by."""
    until: float
    """End of the last of them."""
    steady: bool
    """It is surely places that are short, and not memory, and nobody waits for ever."""
    exact: bool
    """They started in the order of arrival: nothing was saved, and nothing lost."""


def replay_both(
    sample: SavingsSample, costs: ServiceCosts | None, now: float, *, bounded: bool = True
) -> ReplayedPair | None:
    """Replay a sample both ways; None where too few of it can be compared.

    Args:
        sample: completions of a served model.
        costs: what its engine takes for a request, as learned; None where that is not known.
        now: by the clock of the sample.
        bounded: whether patience bounds how long a request waits for others.
    """
    if len(sample) < LEAST_COMPARED:
        return None
    work, reading = _works(sample, costs)
    around = surroundings_of(
        sample.arrival, sample.start, sample.end, work, reading, sample.prompt + sample.output / 2, sample.short_wait
    )
    stretch = stretch_of(sample, around, now, bounded=bounded)
    compared = (sample.arrival >= stretch.since) & (sample.arrival <= stretch.until)
    if compared.sum() < LEAST_COMPARED:
        return None
    started_in_order = sample.in_arrival_order(stretch.since)
    step = _first_step(costs)
    observed = _latencies(sample, sample.start + reading + step, sample.end, compared)
    as_started, by_arrival = observed, observed
    if around is not None and not started_in_order:
        replays = _replays(sample, work, reading, around, stretch, compared)
        as_started, by_arrival = (_latencies(sample, r.first_token + step, r.end, compared) for r in replays)
    return ReplayedPair(
        stretch=stretch,
        observed=observed,
        as_started=as_started,
        by_arrival=by_arrival,
        arrival=sample.arrival[compared],
        waited=sample.queued[compared],
        work=(work + reading)[compared],
        until=float(sample.end[compared].max()),
        steady=around is None or (bounded and around.counted and around.spread <= _STEADY),
        exact=around is None or started_in_order,
    )


def _works(sample: SavingsSample, costs: ServiceCosts | None) -> tuple[Floats, Floats]:
    """Seconds of decoding and of reading the prompt; without costs as it was seen to run."""
    if costs is None or costs.per_output_token.value <= 0:
        return np.maximum(sample.end - sample.start, _NO_WORK), np.zeros(len(sample))
    decoding = costs.per_request.value + costs.per_output_token.value * sample.output
    return np.maximum(decoding, _NO_WORK), max(costs.per_prompt_token.value, 0.0) * sample.prompt


def _first_step(costs: ServiceCosts | None) -> float:
    """Seconds from when a prompt is read to its first token: that of the iteration which makes it."""
    return 0.0 if costs is None else max(costs.per_output_token.value, 0.0)


def _latencies(sample: SavingsSample, first_token: Floats, end: Floats, compared: Bools) -> Latencies:
    arrival, output = sample.arrival[compared], sample.output[compared]
    whole = end[compared] - arrival
    return Latencies(whole, np.minimum(first_token, end)[compared] - arrival, whole / output)


def _replays(
    sample: SavingsSample, work: Floats, reading: Floats, around: Surroundings, stretch: Stretch, compared: Bools
) -> tuple[ReplayedTimes, ReplayedTimes]:
    """In the order in which they started, and by arrival, by an engine in which they wait for as long as they did."""
    after = sample.end > stretch.since
    running = after & (sample.start < stretch.since)
    left = np.where(running, (sample.end - stretch.since) / np.maximum(sample.end - sample.start, _NO_WORK), 1.0)
    load = ReplayLoad(
        arrival=np.maximum(sample.arrival, stretch.since)[after],
        work=np.maximum(work * left, _NO_WORK)[after],
        reading=np.where(running, 0.0, reading)[after],
    )
    around = around.of_requests(after)
    by_arrival = np.where(running, -math.inf, sample.arrival)[after]
    as_started = np.empty(len(sample))
    as_started[np.lexsort((sample.arrival, sample.start))] = np.arange(len(sample))
    as_started = np.where(running, -math.inf, as_started)[after]
    counted, waited = compared[after], float(sample.queued[compared].sum())
    low, high = _SPEEDS
    for _ in range(_TRIES):
        speed = math.sqrt(low * high)
        seen = replay_around(load, as_started, around, speed)
        excess = float((seen.start - load.arrival)[counted].sum()) - waited
        if abs(excess) <= _CLOSE * waited:
            break
        low, high = (speed, high) if excess > 0 else (low, speed)
    other = replay_around(load, by_arrival, around, speed)
    return _spread_out(seen, after), _spread_out(other, after)


def _spread_out(times: ReplayedTimes, after: Bools) -> ReplayedTimes:
    """Of all requests of the sample, NaN for those that were not replayed."""
    columns = []
    for column in (times.start, times.first_token, times.end):
        whole = np.full(len(after), math.nan)
        whole[after] = column
        columns.append(whole)
    return ReplayedTimes(*columns)
