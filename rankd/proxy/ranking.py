"""Which priority a request gets: the daemon's, the client's own, or its arrival's; never one that jumps the queue.

Keys are milliseconds, lower first, for what is ranked and what is not. An engine that serves higher first gets them
with the other sign.
"""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client import RankedQueue
from rankd_client.integration import (
    CircuitBreaker,
    IntegrationSettings,
    OpenAIRequest,
    Route,
    order_of,
    priority_of,
    read_request,
)

from rankd.proxy import headers
from rankd.proxy.settings import Direction
from rankd.proxy.upstream import EngineInfo


@dataclass(frozen=True, slots=True)
class RankedRequest:
    """What becomes of a request: ``priority`` in the engine's direction, None where the body stays as it is."""

    outcome: str
    priority: int | None = None
    in_header: bool = False
    """Anthropic's messages take none in the body; vLLM takes it from a header."""
    queue: RankedQueue | None = None
    request: OpenAIRequest | None = None


class ProxyRanking:
    """Asks the daemon; fails open."""

    def __init__(self, settings: IntegrationSettings, breaker: CircuitBreaker) -> None:
        """Ask by these settings."""
        self._settings, self._breaker = settings, breaker
        self.waiting = 0
        """Requests, to all that is ranked, whose answers have not begun: what each that comes has before it."""

    @property
    def keeps_client_priority(self) -> bool:
        """Whether a client's own priority holds."""
        return self._settings.client_priority == "keep"

    def by_arrival(self, engine: EngineInfo, fields: headers.Fields, arrival: float, outcome: str) -> RankedRequest:
        """For a body that is not read."""
        if self.keeps_client_priority and _takes_header(engine) and headers.gives_priority(fields):
            return RankedRequest("client")
        return RankedRequest(outcome, _in_direction(engine.direction, priority_of(None, arrival)))

    async def rank(
        self, engine: EngineInfo, route: Route, fields: headers.Fields, content: bytes, arrival: float
    ) -> RankedRequest:
        """For a body that is whole."""
        in_header = route is Route.MESSAGES
        if in_header and engine.name != "vllm":
            return RankedRequest("messages")
        request = read_request(route, content)
        in_fields = _takes_header(engine) and headers.gives_priority(fields)
        if self.keeps_client_priority and (in_fields or (request is not None and request.has_priority)):
            return RankedRequest("client")
        if request is None:
            return RankedRequest("unreadable", _in_direction(engine.direction, priority_of(None, arrival)), in_header)
        queue, outcome = await order_of(self._breaker, request, arrival, max(0, self.waiting - 1))
        return RankedRequest(
            outcome, _in_direction(engine.direction, priority_of(queue, arrival)), in_header, queue, request
        )


def _takes_header(engine: EngineInfo) -> bool:
    """Whether the engine may be a vLLM: others do not read its header, and would see no priority at all."""
    return engine.name != "sglang" and engine.direction is Direction.LOWER_FIRST


def _in_direction(direction: Direction, priority: int) -> int:
    return -priority if direction is Direction.HIGHER_FIRST else priority
