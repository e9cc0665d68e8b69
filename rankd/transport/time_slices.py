"""Long work on the event loop, in short time slices.

One message can bring thousands of reports or items; taking them takes seconds, and nothing else runs on the loop
meanwhile. So such work is done a few milliseconds at a time, one message after the other, and after each slice the loop
is everybody else's for as long as the slice took: long work has half of the loop at most, however much of it there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLICE_SECONDS = 0.002


class TimeSlice:
    """The right to work now."""

    def __init__(self, lock: asyncio.Lock, seconds: float) -> None:
        """Prepare; the slice is not begun yet."""
        self._lock = lock
        self._seconds = seconds
        self._began = 0.0
        self._begun = False

    @property
    def over(self) -> bool:
        """Whether it is time to let others work: ask it often, and call ``next`` then."""
        return time.perf_counter() - self._began >= self._seconds

    async def next(self) -> None:
        """Let everybody else work, then wait for another slice, behind those who wait already."""
        await asyncio.sleep(time.perf_counter() - self._began)
        self.end()
        await self.begin()

    async def begin(self) -> None:
        """Wait for the slice."""
        await self._lock.acquire()
        self._begun = True
        self._began = time.perf_counter()

    def end(self) -> None:
        """Give it up, where it was begun."""
        if self._begun:
            self._begun = False
            self._lock.release()


class TimeSlices:
    """Whose time slice it is; one of it for all long work of a loop."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        """Let a slice take ``seconds``."""
        self._lock = asyncio.Lock()  # asyncio's locks are fair: who waits longest is next
        self._seconds = seconds

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[TimeSlice]:
        """Work in time slices. Between two ``await``s nobody comes between; a cancellation ends the slice."""
        time_slice = TimeSlice(self._lock, self._seconds)
        await time_slice.begin()
        try:
            yield time_slice
        finally:
            time_slice.end()
