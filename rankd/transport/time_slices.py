"""Long work on the event loop, in short time slices.

One message can bring thousands of reports or items; taking them takes seconds, and nothing else runs on the loop
meanwhile. So such work is done a few milliseconds at a time, by one message at a time, and callers alternate: who sends
a hundred long messages at once waits for itself, and not others for all of them. After each slice the loop is everybody
else's for as long as the slice took: long work has half of the loop at most, however much of it there is. Only a call
to ``Rank`` beside which no other call is in flight goes on at once: its caller waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeVar

from rankd.auth import Caller

SLICE_SECONDS = 0.002
_CROWD = 32
"""Calls under way that are no long work at present, from which on there are many."""
T = TypeVar("T")

_caller: ContextVar[str] = ContextVar("rankd_turns", default="")


def take_turns(caller: Caller, peer: str) -> None:
    """Let the slices of the present call be its credential's, or its connection's where it shows none."""
    _caller.set(caller.key if caller.credential is not None else peer)


class TimeSlice:
    """The right to work now."""

    def __init__(self, slices: TimeSlices, caller: str, *, hurries: bool = False) -> None:
        """Prepare; the slice is not begun yet. Who ``hurries`` rests only where others are there."""
        self._slices = slices
        self._caller = caller
        self._hurries = hurries
        self._began = 0.0
        self._begun = False

    @property
    def over(self) -> bool:
        """Whether it is time to let others work: ask it often, and call ``next`` then."""
        return time.perf_counter() - self._began >= self._slices.seconds

    async def next(self) -> None:
        """Let everybody else work, then wait for another slice, behind other callers who wait already."""
        # In line first: a caller with one message would stand behind each further one of the others otherwise.
        turn = self._slices.line_up(self._caller)
        if self._begun:
            self._begun = False
            alone = self._hurries and self._slices.alone
            self._slices.give_back(0.0 if alone else time.perf_counter() - self._began)
        await self._work(turn)

    async def begin(self) -> None:
        """Wait for the slice."""
        await self._work(self._slices.line_up(self._caller))

    async def _work(self, turn: asyncio.Future[None]) -> None:
        await self._slices.turn_of(turn)
        self._begun = True
        self._began = time.perf_counter()

    def end(self) -> None:
        """Give it up, where it was begun."""
        if self._begun:
            self._begun = False
            self._slices.give_back(time.perf_counter() - self._began if self._slices.crowded else None)


class TimeSlices:
    """Whose time slice it is; one of it for all long work of a loop."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        """Let a slice take ``seconds``."""
        self._seconds = seconds
        self._taken = False
        self._members = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By caller, who is next first; of each caller the oldest first."""
        self.in_flight: Callable[[], int] = lambda: 2**31
        """Calls under way, those that wait for a slice included. Until it is told, there are always others."""

    @property
    def seconds(self) -> float:
        """How long a slice is."""
        return self._seconds

    @asynccontextmanager
    async def acquire(self, *, hurries: bool = False) -> AsyncIterator[TimeSlice]:
        """Work in time slices. Between two ``await``s nobody comes between; a cancellation ends the slice."""
        time_slice = TimeSlice(self, _caller.get(), hurries=hurries)
        self._members += 1
        try:
            await time_slice.begin()
            yield time_slice
        finally:
            time_slice.end()
            self._members -= 1

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Do work that says by ``yield`` where others may come between; give what it returns."""
        async with self.acquire(hurries=True) as time_slice:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                if time_slice.over:
                    await time_slice.next()

    @property
    def alone(self) -> bool:
        """Whether all calls under way wait for slices."""
        return self.in_flight() <= self._members

    def line_up(self, caller: str) -> asyncio.Future[None]:
        """Wait for the slice from now on: what is given is done when it is the caller's, at once where it is free."""
        turn = asyncio.get_running_loop().create_future()
        if self._taken:
            self._waiting.setdefault(caller, deque()).append(turn)
        else:
            self._taken = True
            turn.set_result(None)
        return turn

    async def turn_of(self, turn: asyncio.Future[None]) -> None:
        """Wait until it is somebody's turn who lined up."""
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it was ours already
            raise

    @property
    def crowded(self) -> bool:
        """Whether so many calls are under way that a message which takes less than a slice is followed by a rest, too.

        Many of these are long work, too, and calls come out of gRPC one by one, each time that the loop comes round.
        """
        return self.in_flight() > _CROWD + self._members

    def give_back(self, rest: float | None = None) -> None:
        """Hand the slice to who is next: at once, or after ``rest`` seconds in which the loop does other things."""
        if rest is None:
            self._pass_on()
        else:
            asyncio.get_running_loop().call_later(rest, self._pass_on)

    def _pass_on(self) -> None:
        """Give the slice to the caller whose last turn is longest ago, and to its oldest message."""
        while self._waiting:
            caller, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[caller] = turns  # behind all other callers
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
