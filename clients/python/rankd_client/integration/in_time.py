"""Asking for a request's score as long as the request would wait anyway, and after it went on without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from rankd_client import RankedQueue
from rankd_client.integration.hold_up import EngineLoad
from rankd_client.integration.tally import MemoryTally, Tally

Order = tuple[RankedQueue | None, str]
"""An order, or None for that of arrival; and what to count."""
Question = Callable[[float, bool], Awaitable[Order]]
"""Asks once: within so many seconds, and whether the request goes on without the answer."""

TOO_LATE = frozenset({"deadline", "timeout", "overloaded"})
"""Outcomes of a question that more time may answer: the daemon reads on what it was not in time for."""
_LEAST = 0.02
"""Seconds that must be left to ask again."""
_MOMENT = 0.02
"""Seconds for those to come who make a queue of a burst."""
_ARRIVING = 0.25
"""Seconds for which they may go on coming."""
_LATE_TIMEOUT = 10.0
"""Seconds for the answer to what went on without: over one, so that who waits goes before it in the daemon."""
_MOST_LATE = 256
_asking: set[asyncio.Future[Order]] = set()
"""Questions under way: a loop does not keep them."""


async def order_in_time(question: Question, load: EngineLoad, until_deadline: float | None = None) -> Order:
    """Ask, and wait for the answer as long as the request would wait anyway.

    Where it would not, the daemon is told how little time there is, and says at once that it will not be in time. Of a
    burst the first hear that before the others are there, who make it a queue: as long as more come, they are waited
    for. Where it would, one question has all the time that there may be, and ends here when the wait does.

    Args:
        question: asks once.
        load: of the engine; the request is counted there. Where its settings have a fixed timeout it is asked once.
        until_deadline: seconds until its whole answer is wanted.
    """
    settings, began, crowd = load.settings, time.monotonic(), load.in_flight
    given = load.hold_up(until_deadline)
    if settings.timeout is not None:
        return await question(given, False)
    if given <= settings.hold_idle:
        order = await question(given, False)
        while order[1] in TOO_LATE:
            most, elapsed = load.hold_up(until_deadline), time.monotonic() - began
            if most > settings.hold_idle and most - elapsed >= _LEAST:
                break
            if load.in_flight <= crowd or elapsed >= (_ARRIVING if until_deadline is None else most):
                return order
            crowd = load.in_flight
            await asyncio.sleep(_MOMENT)
        else:
            return order
    task = asyncio.ensure_future(question(settings.hold_most, False))
    _asking.add(task)  # it goes on when nobody waits any more: the daemon's silence is to be noted
    task.add_done_callback(_asked)
    while (left := load.hold_up(until_deadline) - (time.monotonic() - began)) > 0:
        if (await asyncio.wait({task}, timeout=left))[0]:
            return task.result()
    return None, "timeout"


def _asked(task: asyncio.Future[Order]) -> None:
    _asking.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waits gets it; else it is nobody's


class LateScores:
    """Asks for scores of requests that went on without: those that still wait can be put in their place."""

    def __init__(self, tally: Tally | None = None, most: int = _MOST_LATE) -> None:
        """Nobody is asked for. Beyond ``most`` at a time none is: the daemon is behind anyway."""
        self._tally: Tally = MemoryTally() if tally is None else tally
        self._most = most
        self._asking: set[asyncio.Task[None]] = set()

    def ask(self, question: Question, take: Callable[[RankedQueue], None]) -> Callable[[], None]:
        """Ask in the background.

        Args:
            question: asks once.
            take: gets the order; must not raise.

        Returns:
            What ends it, as when the request is over.
        """
        if len(self._asking) >= self._most:
            self._tally.inc("not_asked")
            return _nothing
        task = asyncio.get_running_loop().create_task(self._run(question, take), name="rankd-late-score")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return lambda: _cancel(task)

    async def _run(self, question: Question, take: Callable[[RankedQueue], None]) -> None:
        queue, outcome = await question(_LATE_TIMEOUT, True)
        if queue is not None and outcome == "ranked":
            self._tally.inc("scored")
            take(queue)
        else:
            self._tally.inc("still_too_late" if outcome in TOO_LATE else "failed")

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)


def _cancel(task: asyncio.Task[None]) -> None:
    """A task that runs on the same loop; one that is done stays so."""
    task.cancel()


def _nothing() -> None:
    """There is nothing to end."""
