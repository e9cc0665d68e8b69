"""Pages that are made anew, off the event loop, for all who wait for them at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

_SHARE = 0.1
"""Of a core, that one builder takes at most, however many ask however often."""
_LONGEST_PAUSE = 2.0
_MOST_KEPT = 8


class PacedBuilds:
    """Makes pages of one kind, one after another, each in a thread.

    Nobody is given a page that was begun before they asked, unless they say so. Instead all who ask while one is made
    share the next, and that waits until builds have taken no more than a tenth of the time. Who asks now and then does
    not wait; eight who ask in a loop cost as much as one.
    """

    def __init__(self) -> None:
        """Nothing was made yet."""
        self._turn = asyncio.Lock()
        self._next: dict[Hashable, asyncio.Task[bytes]] = {}
        self._kept: dict[Hashable, tuple[float, bytes]] = {}
        """When it was begun, and what came out, the oldest first."""
        self._not_before = 0.0

    async def get(self, key: Hashable, make: Callable[[], bytes], *, age: float = 0.0) -> bytes:
        """What ``make`` gives, called after this was.

        Args:
            key: tells apart what is made.
            make: makes it, in a thread.
            age: what was begun at most so many seconds ago will do.

        Raises:
            Exception: what ``make`` raised.
        """
        if age and key in self._kept and time.monotonic() - self._kept[key][0] <= age:
            return self._kept[key][1]
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._build(key, make))
            # It may be that all who wait for it go away.
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
        # Who goes away takes it from nobody else.
        return await asyncio.shield(task)

    async def _build(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        async with self._turn:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            del self._next[key]
            began = time.monotonic()
            try:
                page = await _in_thread(make)
                self._kept.pop(key, None)
                self._kept[key] = began, page
                if len(self._kept) > _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                return page
            finally:
                took = time.monotonic() - began
                self._not_before = began + min(took / _SHARE, took + _LONGEST_PAUSE)


async def _in_thread(make: Callable[[], bytes]) -> bytes:
    """Call in a thread of its own: Python waits for one of an executor at its end, and this may hang."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def run() -> None:
        result: tuple[Callable[[Any], None], Any]
        try:
            result = done.set_result, make()
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            result = done.set_exception, error

        def tell() -> None:
            if not done.done():
                result[0](result[1])

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return  # the server was closed meanwhile

    threading.Thread(target=run, name="rankd-page", daemon=True).start()
    return await done
