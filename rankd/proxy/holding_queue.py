"""Requests that wait here for a place in the engine, and are let in in order: what is scored late still moves.

For engines that order nothing themselves, and for scores that come after a request was sent: once the engine has it,
its priority is what it was. Off by default, as nobody but the user knows how many an engine takes at a time: with fewer
places than that its batches would be smaller than they need be.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
from dataclasses import dataclass, field

_SLACK = 64
"""Entries of a heap that nobody needs any more, before it is made anew."""


class _HeldState(enum.Enum):
    OUTSIDE = enum.auto()
    WAITS = enum.auto()
    IN_ENGINE = enum.auto()


@dataclass(slots=True, eq=False)
class HeldPlace:
    """A request's, in the queue and then in the engine. ``key``: lower goes first."""

    number: int
    key: int = 0
    state: _HeldState = _HeldState.OUTSIDE
    let_in: asyncio.Event = field(default_factory=asyncio.Event)


class HoldingQueue:
    """Lets as many into the engine as it has places; 0 is without bound. Not safe across threads."""

    def __init__(self, places: int) -> None:
        """Nobody is there."""
        self._bounded, self._free = places > 0, places
        self._heap: list[tuple[int, int, HeldPlace]] = []
        self._numbers = itertools.count()
        self.waiting = 0
        """Requests that wait for a place."""

    def place(self) -> HeldPlace:
        """For a request that will come."""
        return HeldPlace(next(self._numbers))

    async def enter(self, place: HeldPlace, key: int) -> None:
        """Wait until it is let in; ``leave`` must follow, however this ends. Of equal keys the older goes first."""
        place.key, place.state = key, _HeldState.WAITS
        self.waiting += 1
        heapq.heappush(self._heap, (key, place.number, place))
        self._let_in()
        await place.let_in.wait()

    def move(self, place: HeldPlace, key: int) -> None:
        """Give a request that waits another key; of one that does not wait it changes nothing."""
        if place.state is _HeldState.WAITS and key != place.key:
            place.key = key
            heapq.heappush(self._heap, (key, place.number, place))
            if len(self._heap) > 2 * self.waiting + _SLACK:
                self._heap = [entry for entry in self._heap if _counts(entry)]
                heapq.heapify(self._heap)

    def leave(self, place: HeldPlace) -> None:
        """Be gone, from the line or from the engine; only the first time counts."""
        was, place.state = place.state, _HeldState.OUTSIDE
        if was is _HeldState.WAITS:
            self.waiting -= 1
        elif was is _HeldState.IN_ENGINE:
            self._free += 1
            self._let_in()

    def _let_in(self) -> None:
        while self._heap and (self._free > 0 or not self._bounded):
            entry = heapq.heappop(self._heap)
            if _counts(entry):
                place = entry[2]
                place.state = _HeldState.IN_ENGINE
                self.waiting -= 1
                self._free -= 1
                place.let_in.set()


def _counts(entry: tuple[int, int, HeldPlace]) -> bool:
    """Whether an entry is of a request that waits, by the key that it has now."""
    key, _, place = entry
    return place.state is _HeldState.WAITS and place.key == key
