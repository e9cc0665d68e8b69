"""What every call passes, and what is known of its method."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rankd.settings import LimitsSection
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import Authenticator
from rankd.transport.call_watch import CallWatch
from rankd.transport.decoding import RequestDecoder
from rankd.transport.memory_budget import MemoryBudget, default_budget
from rankd.transport.rate_limit import RateLimit


class CallGate:
    """What every call to the daemon passes: metrics, rate limit, credentials, memory, and whether it drains."""

    def __init__(
        self, telemetry: Telemetry, rate: RateLimit, authenticator: Authenticator | None, limits: LimitsSection
    ) -> None:
        """Take what is shared by all calls; without ``authenticator`` everybody is let in."""
        self.memory = MemoryBudget(limits.memory_bytes or default_budget())
        self.watch = CallWatch(limits, self.memory)
        self.telemetry = telemetry
        self.rate = rate
        self.authenticator = authenticator
        self.drained = asyncio.Event()
        self.in_flight = 0
        """Calls of our own services under way; health and reflection are no work to wait for."""

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return self.drained.is_set()


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service."""

    name: str
    ours: bool
    """Whether it is of one of our services, not of health or reflection."""
    decoder: RequestDecoder | None
    """None where a request is taken as it is."""
    encode: Callable[[Any], bytes] | None
