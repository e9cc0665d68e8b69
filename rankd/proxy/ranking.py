"""Which priority a request gets: the daemon's, the client's own, or its arrival's; never one that jumps the queue.

Keys are milliseconds, lower first, for what is ranked and what is not. An engine that serves higher first gets them
with the other sign.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rankd_client import RankedQueue
from rankd_client.integration import (
    TOO_LATE,
    CircuitBreaker,
    EngineLoad,
    IntegrationSettings,
    OpenAIRequest,
    Order,
    PromptTokens,
    Question,
    RequestTerms,
    Route,
    order_in_time,
    order_of,
    priority_of,
    read_request,
)

from rankd.proxy import headers
from rankd.proxy.content_coding import UnreadableError, codings_of, decoded
from rankd.proxy.served_models import ServedModels
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
    model: str = ""
    """What it is ranked and reported for, as ``ServedModels.claim`` says."""
    late: LateQuestion | None = None
    """What asks again for a score that did not come in time."""

    def key(self, engine: EngineInfo, arrival: float) -> int:
        """Where it stands among those that wait here, lower first; that of its arrival where it got no priority."""
        if self.priority is None:
            return round(arrival * 1000)
        return -self.priority if engine.direction is Direction.HIGHER_FIRST else self.priority


@dataclass(frozen=True, slots=True)
class LateQuestion:
    """A request's question, and what its answer makes of the priority."""

    ask: Question
    priority: Callable[[RankedQueue], int]


class ProxyRanking:
    """Asks the daemon; fails open."""

    def __init__(self, settings: IntegrationSettings, breaker: CircuitBreaker, models: ServedModels) -> None:
        """Ask by these settings."""
        self._settings, self._breaker, self.models = settings, breaker, models
        self.load = EngineLoad(settings)
        """How long requests may be held up."""
        self.prompt_tokens = PromptTokens()
        """What answers tell of the tokens of prompts that are to come, by served model."""
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
        in_header = headers.is_encoded(fields) and _takes_header(engine)
        terms = self._settings.terms.read(fields, None, arrival)
        return RankedRequest(outcome, self._priority(engine, None, arrival, terms), in_header)

    async def rank(
        self, engine: EngineInfo, route: Route, fields: headers.Fields, content: bytes, arrival: float
    ) -> RankedRequest:
        """For a body that is whole."""
        in_header = route is Route.MESSAGES
        if in_header and engine.name != "vllm":
            return RankedRequest("messages")
        sources = self._settings.terms
        request = read_request(route, content, sources.tenant_field, sources.step_field)
        if request is None and headers.is_encoded(fields):
            # A priority cannot be put into it: that is for engines that take one in a header.
            if not _takes_header(engine):
                return RankedRequest("encoded")
            in_header, request = True, self._read_encoded(route, fields, content)
        in_fields = _takes_header(engine) and headers.gives_priority(fields)
        if self.keeps_client_priority and (in_fields or (request is not None and request.has_priority)):
            return RankedRequest("client")
        terms = sources.read(fields, request, arrival)
        if request is None:
            outcome = "encoded" if headers.is_encoded(fields) else "unreadable"
            return RankedRequest(outcome, self._priority(engine, None, arrival, terms), in_header)
        model = self.models.claim(request.model)

        async def question(timeout: float, late: bool) -> Order:
            counts, beside = self.prompt_tokens.estimates(model, request.texts), max(0, self.waiting - 1)
            return await order_of(
                self._breaker,
                request,
                arrival,
                beside,
                model,
                terms=terms,
                counts=counts,
                timeout=timeout,
                late=late,
            )

        until = None if terms.deadline is None else terms.deadline - time.time()
        try:
            queue, outcome = await order_in_time(question, self.load, until)
        except BaseException:
            self.models.settle(request.model, model, None)
            raise
        late = None
        if outcome in TOO_LATE:
            late = LateQuestion(question, lambda queue: self._priority(engine, queue, arrival, terms))
        priority = self._priority(engine, queue, arrival, terms)
        return RankedRequest(outcome, priority, in_header, queue, request, model, late)

    def _priority(self, engine: EngineInfo, queue: RankedQueue | None, arrival: float, terms: RequestTerms) -> int:
        """In the engine's direction."""
        key = priority_of(queue, arrival, self._breaker.offset_of(terms.priority_class))
        return -key if engine.direction is Direction.HIGHER_FIRST else key

    def _read_encoded(self, route: Route, fields: headers.Fields, content: bytes) -> OpenAIRequest | None:
        try:
            whole = decoded(content, codings_of(fields), self._settings.max_body_bytes)
            sources = self._settings.terms
            return read_request(route, whole, sources.tenant_field, sources.step_field)
        except UnreadableError:
            return None


def _takes_header(engine: EngineInfo) -> bool:
    """Whether the engine may be a vLLM: others do not read its header, and would see no priority at all."""
    return engine.name != "sglang" and engine.direction is Direction.LOWER_FIRST
