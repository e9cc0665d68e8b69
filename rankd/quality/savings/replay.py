"""Requests served again by the engine as it was at each time (``surroundings``), in another order."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from rankd.quality.savings.surroundings import Surroundings

Floats = NDArray[np.float64]

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ReplayLoad:
    """Requests and what they take, [n], seconds."""

    arrival: Floats
    """None before the replay begins: who was there already comes then."""
    work: Floats
    """At the learned pace, but for prompts."""
    reading: Floats
    """During which nobody gets on."""


@dataclass(frozen=True, slots=True)
class ReplayedTimes:
    """When what happened, seconds by the clock of the arrivals, [n]."""

    start: Floats
    first_token: Floats
    end: Floats


class _PacedClock:
    """Work that a running request gets done by a time, and back; linear within a bin."""

    def __init__(self, around: Surroundings, speed: float) -> None:
        self._begin, self._width = around.begin, around.width
        self._pace = (around.pace * speed).tolist()
        self._done = [0.0, *np.cumsum(np.array(self._pace) * around.width).tolist()]
        self._last = around.begin + len(self._pace) * around.width
        self._later = around.mean_pace * speed

    def done(self, time: float) -> float:
        """Since the first bin."""
        if time >= self._last:
            return float(self._done[-1] + (time - self._last) * self._later)
        i = max(int((time - self._begin) / self._width), 0)
        return float(self._done[i] + (time - self._begin - i * self._width) * self._pace[i])

    def time_of(self, done: float) -> float:
        """When so much is done."""
        if done >= self._done[-1]:
            return float(self._last + (done - self._done[-1]) / self._later)
        i = max(bisect_right(self._done, done) - 1, 0)
        return float(self._begin + i * self._width + (done - self._done[i]) / self._pace[i])


class _Room:
    """How much may run at a time."""

    def __init__(self, around: Surroundings) -> None:
        self._begin, self._width, self._later = around.begin, around.width, around.mean_room
        room = around.room
        if around.counted:
            # Whole requests: bins are rounded up and down so that they have as much room together.
            room = np.maximum(np.diff(np.floor(np.cumsum(room) + 0.5), prepend=0.0), 1.0)
        self._room = room.tolist()

    def at(self, time: float) -> float:
        i = int((time - self._begin) / self._width)
        return float(self._room[i]) if 0 <= i < len(self._room) else self._later

    def changes_after(self, time: float) -> float:
        i = int((time - self._begin) / self._width) + 1
        return self._begin + i * self._width if i <= len(self._room) else float("inf")


def replay_around(load: ReplayLoad, key: Floats, around: Surroundings, speed: float) -> ReplayedTimes:
    """Serve requests, the lowest key of those that wait next; of equal ones the first.

    Args:
        load: requests by arrival.
        key: of each, [n].
        around: the engine as it was.
        speed: how much faster it is than its surroundings say.
    """
    arrival, work, reading = load.arrival.tolist(), load.work.tolist(), load.reading.tolist()
    size, n = around.size.tolist(), len(load.arrival)
    who_at = np.argsort(key, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[who_at] = np.arange(n)
    request, places = who_at.tolist(), place.tolist()
    clock, room = _PacedClock(around, speed), _Room(around)
    start, first, end = [0.0] * n, [0.0] * n, [0.0] * n
    waiting: list[int] = []
    running: list[tuple[float, int]] = []
    used = ticked = 0.0
    now, come = arrival[0] if n else 0.0, 0
    while running or waiting or come < n:
        if not running and not waiting:
            now = max(now, arrival[come])
        while come < n and arrival[come] <= now:
            heappush(waiting, places[come])
            come += 1
        if waiting and (not running or used + size[request[waiting[0]]] <= room.at(now) + _ROUNDING):
            who = request[heappop(waiting)]
            start[who] = now
            now += reading[who]
            first[who] = now
            used += size[who]
            heappush(running, (ticked + work[who], who))
            continue
        here = clock.done(now)
        ends = clock.time_of(here + running[0][0] - ticked)
        then = room.changes_after(now) if waiting else arrival[come] if come < n else ends
        if now < then < ends:
            ticked += clock.done(then) - here
            now = then
            continue
        now, ticked = max(ends, now), running[0][0]
        while running and running[0][0] <= ticked + _ROUNDING * _ROUNDING:
            who = heappop(running)[1]
            end[who] = now
            used -= size[who]
    return ReplayedTimes(np.array(start), np.array(first), np.array(end))
