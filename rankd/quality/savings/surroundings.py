"""What an engine had to give at each time, by the requests that were seen to run.

The learned costs say what a request takes of an engine at a steady pace. A real one is not steady: its memory holds
fewer long requests than short ones, it runs slower in a large batch, others share it, and it serves requests that
nobody reports. All of that shows in how many ran while somebody waited, and in how fast they got on. So these two are
read off by stretches of time, and an order that is replayed finds the engine as it was then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_PER_RUN = 4
"""Bins of time in a median run."""
_MOST_BINS = 4000
_QUEUED_SHARE = 0.2
"""Of a bin: what ran while somebody waited for so much of it tells of the room that there was."""
_QUEUED_NOT_FULL = 0.8
"""The same where less ran than usual: the engine gave less then."""
_READS = 0.8
"""Share of a bin that reading prompts takes at most."""
_NOTABLY = 0.05
"""So much less than the mean room is no full engine, where the room hardly changes."""
_SPREADS = 2.0
"""Where it changes, so many standard deviations less."""
_LEAST_FULL = 0.4
_PACES = (0.2, 5.0)
"""Of the mean pace: no bin is further off."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """By bins of time, [k]: the room that there was for requests, and the pace at which they got on."""

    begin: float
    width: float
    """Seconds of a bin."""
    room: Floats
    """Sum of ``size`` of requests that can run at a time."""
    pace: Floats
    """Seconds of work that each of them gets done in a second in which no prompt is read."""
    size: Floats
    """What each request takes of the room, [n]: 1, or its tokens where it is memory that is short."""
    counted: bool
    """Whether requests are counted, and not their tokens."""
    mean_room: float
    spread: float
    """Relative standard deviation of what is taken while somebody waits."""
    mean_pace: float
    times: Floats
    """When anything changed, [m]."""
    waiting: Floats
    """How many waited from then on, [m]."""
    used: Floats
    """How much room was taken from then on, [m]."""

    def pauses(self) -> tuple[Floats, Floats]:
        """When nobody waited and there was surely room, for a while: begins and ends, in order; the last has no end.

        Who waits and was not reported yet shows in that there is no room.
        """
        full = _least_full(self.spread) * self.mean_room
        free = ((self.waiting < 0.5) & (self.used < full)).astype(np.int8)
        turns = np.diff(free, prepend=0)
        begins, ends = self.times[turns > 0], self.times[turns < 0]
        ends = np.append(ends, [math.inf] * (len(begins) - len(ends)))
        lasted = ends - begins >= self.width / 2
        return begins[lasted], ends[lasted]

    def of_requests(self, chosen: Bools) -> Surroundings:
        """The same for some of the requests."""
        return replace(self, size=self.size[chosen])


def surroundings_of(
    arrival: Floats, start: Floats, end: Floats, work: Floats, reading: Floats, tokens: Floats, short_wait: float
) -> Surroundings | None:
    """Read them off; None where nobody waited, which says nothing of the room.

    Args:
        arrival: of requests, seconds, [n].
        start: when each first ran.
        end: when it ended.
        work: seconds that it takes at the learned pace, but for prompts.
        reading: seconds that its prompt takes.
        tokens: that it holds in memory at the mean over its run.
        short_wait: seconds that are no wait.
    """
    sizes = [(True, np.ones_like(arrival)), (False, np.maximum(tokens, 1.0))]
    found = [(*_changes(arrival, start, end, size, short_wait), size, counted) for counted, size in sizes]
    spreads = [_spread(times, waiting, used) for times, waiting, used, _, _ in found]
    if math.isinf(spreads[0][1]):
        return None
    # What is short is what hardly changes while others wait for it.
    least = int(np.argmin([spread for _, spread in spreads]))
    (times, waiting, used, size, counted), (mean_room, spread) = found[least], spreads[least]
    width = max(float(np.median(end - start)) / _PER_RUN, float(times[-1] - times[0]) / _MOST_BINS, 1e-6)
    edges = times[0] + width * np.arange(int((times[-1] - times[0]) / width) + 2)
    pace, mean_pace = _paces(start, end, work, reading, edges)
    return Surroundings(
        begin=float(times[0]),
        width=width,
        room=_room(times, waiting, used, edges, mean_room, _least_full(spread)),
        pace=pace,
        size=size,
        counted=counted,
        mean_room=mean_room,
        spread=spread,
        mean_pace=mean_pace,
        times=times,
        waiting=waiting,
        used=used,
    )


def _least_full(spread: float) -> float:
    """Share of the mean room below which an engine is not full."""
    return max(_LEAST_FULL, 1 - max(_SPREADS * spread, _NOTABLY))


def _changes(
    arrival: Floats, start: Floats, end: Floats, size: Floats, short_wait: float
) -> tuple[Floats, Floats, Floats]:
    """When anything changed, and how many waited and how much room was taken from then on, [3n]."""
    waits = (arrival + short_wait < start).astype(np.float64)
    none = np.zeros_like(size)
    times = np.concatenate((arrival + short_wait, start, end))
    order = np.argsort(times, kind="stable")
    waiting = np.cumsum(np.concatenate((waits, -waits, none))[order])
    used = np.cumsum(np.concatenate((none, size, -size))[order])
    return times[order], waiting, used


def _spread(times: Floats, waiting: Floats, used: Floats) -> tuple[float, float]:
    """The mean room that was taken while somebody waited, and its relative standard deviation; infinite: nobody did."""
    lasted = np.diff(times, append=times[-1]) * (waiting > 0.5)
    if lasted.sum() <= 0:
        return 0.0, math.inf
    mean = float((used * lasted).sum() / lasted.sum())
    return mean, math.sqrt(float(((used - mean) ** 2 * lasted).sum() / lasted.sum())) / max(mean, 1e-12)


def _binned(times: Floats, values: Floats, edges: Floats) -> Floats:
    """The integral of what holds from each time on, by bin."""
    total = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(times))))
    return np.diff(np.interp(edges, times, total))


def _room(times: Floats, waiting: Floats, used: Floats, edges: Floats, mean: float, least_full: float) -> Floats:
    """By bin: what was taken while somebody waited; where nobody did as before and after, or what was taken.

    Who waits for the engine's next iteration, and starts while there is room, says nothing of how much there is: so a
    bin in which the engine was not full tells only where somebody waited for nearly all of it.
    """
    width = edges[1] - edges[0]
    queued = (waiting > 0.5).astype(np.float64)
    lasted, taken = _binned(times, queued, edges), _binned(times, used * queued, edges)
    full = taken >= least_full * mean * lasted
    known = lasted > np.where(full, _QUEUED_SHARE, _QUEUED_NOT_FULL) * width
    if not known.any():
        return np.full(len(lasted), mean)
    bins = np.arange(len(lasted))
    between = np.interp(bins, bins[known], taken[known] / lasted[known])
    room: Floats = np.where(known, between, np.maximum(between, _binned(times, used, edges) / width))
    return room


def _paces(start: Floats, end: Floats, work: Floats, reading: Floats, edges: Floats) -> tuple[Floats, float]:
    """By bin: work that each running request got done in a second without reading; and the mean."""
    width = edges[1] - edges[0]
    ran = np.maximum(end - start, 1e-9)
    times = np.concatenate((start, end))
    order = np.argsort(times, kind="stable")
    running, done = (
        _binned(times[order], np.cumsum(np.concatenate((one, -one))[order]), edges)
        for one in (np.ones_like(ran), work / ran)
    )
    bins = np.clip(((start - edges[0]) / width).astype(np.int64), 0, len(edges) - 2)
    read = np.bincount(bins, weights=reading, minlength=len(edges) - 1) / width
    read = np.minimum(np.convolve(read, np.full(_PER_RUN, 1 / _PER_RUN), "same")[: len(read)], _READS)
    decoding = running * (1 - read)
    mean = float(done.sum() / max(decoding.sum(), 1e-12)) or 1.0  # 1 where nothing ran for any time at all
    pace = np.where(running > 0.5 * width, done / np.maximum(decoding, 1e-12), mean)
    return np.clip(pace, _PACES[0] * mean, _PACES[1] * mean), mean
