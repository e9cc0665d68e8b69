"""How long a request may be held up by asking for its score: the share of what it is expected to wait anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rankd_client.integration.expected_wait import Begun, ExpectedWait
from rankd_client.integration.settings import IntegrationSettings

UNKNOWN_WAIT = 4.0
"""Seconds that a request is taken to wait that has others beside it, while nothing is known of the engine."""
_OF_DEADLINE = 0.1
_LEAST = 0.001


@dataclass(slots=True, eq=False)
class Visit:
    """A request, from its arrival until its answer has ended."""

    _load: EngineLoad
    _sent: float | None = None
    beside: int = 0
    """Requests that the engine had when it went there."""
    here: bool = True
    in_engine: bool = False
    on_leaving: Callable[[], None] | None = None
    """Called once, when it is over."""

    def sent(self) -> None:
        """It goes to the engine now."""
        self.beside, self._sent = self._load.in_engine, time.monotonic()
        self.in_engine = True
        self._load.in_engine += 1

    def begun(self, how: Begun) -> None:
        """Its answer begins now; only the first time counts."""
        if self._sent is not None:
            self._load.wait.learn(self.beside, time.monotonic() - self._sent, how)
            self._sent = None

    def left(self) -> None:
        """It is over, however it ended; only the first time counts."""
        if self.here:
            self.here, self._sent = False, None
            self._load.in_flight -= 1
            if self.in_engine:
                self._load.in_engine -= 1
                self._load.place_left()
            if self.on_leaving is not None:
                self.on_leaving()


class EngineLoad:
    """Requests that are under way, and how long those that come may be held up."""

    def __init__(self, settings: IntegrationSettings, wait: ExpectedWait | None = None) -> None:
        """Nobody is there yet, and nothing known."""
        self.settings = settings
        self.wait = ExpectedWait() if wait is None else wait
        self.in_flight = self.in_engine = 0
        """Requests that are here, and those of them that are not held up any more. Who is held up will be there, too:
        what comes is expected to wait as if all were."""
        self._held: dict[asyncio.Future[None], None] = {}
        """Those that wait for a place, in order."""

    def arrive(self) -> Visit:
        """A request is there; ``left`` must follow."""
        self.in_flight += 1
        return Visit(self)

    def hold_up_of_next(self) -> float:
        """Seconds that a request that comes now may be held up."""
        return self._hold_up(self.in_flight, None)

    def hold_up(self, until_deadline: float | None = None) -> float:
        """Seconds that a request that came may be held up for its score, as things stand now.

        Args:
            until_deadline: seconds from its arrival until its whole answer is wanted. Asking takes a tenth of them at
                most, and where the settings have a fixed timeout all of them at most.
        """
        return self._hold_up(self.in_flight - 1, until_deadline)

    def most(self, until_deadline: float | None = None) -> float:
        """Seconds that a request may be held up at most, however long the engine has others to serve."""
        return _before(until_deadline, self.settings.hold_most, _OF_DEADLINE)

    @property
    def is_full(self) -> bool:
        """Whether the engine has more than it is known to serve at once: who is held up then loses nothing."""
        full_from = self.wait.full_from()
        return full_from is not None and self.in_engine >= full_from

    async def place(self, seconds: float, question: asyncio.Future[Any]) -> None:
        """Wait until the engine has a place for the first that is held up, the question is answered, or time is up."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held[place] = None
        try:
            await asyncio.wait({place, question}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._held.pop(place, None)

    def place_left(self) -> None:
        """Something left the engine: one that is held up may go in its place, where nothing else waits for it."""
        if self._held and not self.is_full:
            first = next(iter(self._held))
            del self._held[first]
            if not first.done():
                first.set_result(None)

    def _hold_up(self, beside: int, until_deadline: float | None) -> float:
        settings = self.settings
        if settings.timeout is not None:
            most, share = settings.timeout, 1.0
        else:
            expected = self.wait.seconds(beside)
            waits = settings.hold_share * (UNKNOWN_WAIT if expected is None else expected)
            most, share = max(settings.hold_idle, min(waits, settings.hold_most)), _OF_DEADLINE
        return _before(until_deadline, most, share)


def _before(until_deadline: float | None, most: float, share: float) -> float:
    return most if until_deadline is None else min(most, max(_LEAST, share * until_deadline))
