"""How long a request may be held up by asking for its score: the share of what it is expected to wait anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rankd_client.integration.expected_wait import Begun, ExpectedWait
from rankd_client.integration.settings import IntegrationSettings

UNKNOWN_WAIT = 3.0
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
            self._load.in_engine -= self.in_engine
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

    def _hold_up(self, beside: int, until_deadline: float | None) -> float:
        settings = self.settings
        if settings.timeout is not None:
            most, share = settings.timeout, 1.0
        else:
            expected = self.wait.seconds(beside)
            waits = settings.hold_share * (UNKNOWN_WAIT if expected is None else expected)
            most, share = max(settings.hold_idle, min(waits, settings.hold_most)), _OF_DEADLINE
        if until_deadline is not None:
            most = min(most, max(_LEAST, share * until_deadline))
        return most
