"""The ASGI middleware: every request of vLLM gets the priority that rankd gives it. Clients change nothing.

vLLM serves the lowest priority first, and a request without one has priority 0: it would go before everybody who has
one. So where rankd cannot be asked the priority is the arrival time, in the milliseconds that rankd's keys have too.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import Any

from rankd_client import RankedQueue
from rankd_client.integration import (
    TOO_LATE,
    Begun,
    CircuitBreaker,
    EngineLoad,
    IntegrationSettings,
    LateScores,
    Message,
    OpenAIRequest,
    Order,
    PredictionStore,
    Question,
    Receive,
    Reporter,
    RequestBody,
    RequestTerms,
    Route,
    StoredPrediction,
    Visit,
    connect,
    is_priority,
    logger,
    order_in_time,
    order_of,
    priority_of,
    read_request,
    route_of,
)

from rankd_vllm.counters import LATE_SCORES, REQUESTS
from rankd_vllm.scheduling_mode import SchedulingMode, mode_of

PREDICTIONS = PredictionStore()
"""Those of this process: vLLM builds middleware and stat logger apart from each other."""
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PRIORITY, REQUEST_ID = b"x-vllm-priority", b"x-request-id"
_RESPONSE_ID = re.compile(rb'"id": ?"(resp_[0-9a-zA-Z_-]{1,128})"')
_SEARCHED_BYTES = 65_536


class RankMiddleware:
    """For ``--middleware rankd_vllm.RankMiddleware``; settings are environment variables."""

    def __init__(
        self, app: Application, settings: IntegrationSettings | None = None, predictions: PredictionStore = PREDICTIONS
    ) -> None:
        """Wrap an application.

        Raises:
            ValueError: an environment variable has a value that it cannot have.
        """
        self._app = app
        self._settings = IntegrationSettings.from_environment() if settings is None else settings
        self._predictions = predictions
        self._breaker = CircuitBreaker(self._settings)
        self._mode = SchedulingMode.UNKNOWN
        self._load = EngineLoad(self._settings, predictions.wait)
        self._late_scores = LateScores(LATE_SCORES)
        self._reporter = Reporter(predictions, partial(connect, self._settings))
        """Says how requests are placed; the stat logger has one of its own for what they produced."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self._mode is SchedulingMode.UNKNOWN:
            self._mode = mode_of(scope)
        route = None
        if scope["type"] == "http" and self._mode is not SchedulingMode.SCHEDULER:
            route = route_of(scope["method"], scope["path"], scope.get("root_path", ""))
        if route is None or not _is_json(scope["headers"]):
            await self._app(scope, receive, send)
            return
        visit = self._load.arrive()
        try:
            await self._rank_and_serve(scope, receive, _watched(send, visit), route, visit)
        finally:
            visit.left()

    async def _rank_and_serve(self, scope: Scope, receive: Receive, send: Send, route: Route, visit: Visit) -> None:
        body = RequestBody(receive, self._settings.max_body_bytes)
        whole = _length(scope["headers"]) <= self._settings.max_body_bytes and await body.read()
        content, arrival = body.content if whole else None, time.time()
        try:
            scope, send = await self._prioritised(scope, send, route, content, arrival, visit)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost a request
            logger.warning("rankd: a request goes in arrival order (%s)", type(error).__name__)
            scope = _with(scope, PRIORITY, str(priority_of(None, arrival)))
            REQUESTS.inc(f"error:{type(error).__name__}")
        visit.sent()
        await self._app(scope, body.receive, send)

    async def _prioritised(
        self, scope: Scope, send: Send, route: Route, content: bytes | None, arrival: float, visit: Visit
    ) -> tuple[Scope, Send]:
        """The scope with a priority, and where the engine's id comes with the answer, a send that looks for it."""
        sources = self._settings.terms
        request = None
        if content is not None:
            request = read_request(route, content, sources.tenant_field, sources.step_field)
        if self._settings.client_priority == "keep" and (
            is_priority(_first(scope["headers"], PRIORITY)) or (request is not None and request.has_priority)
        ):
            REQUESTS.inc("client")
            return scope, send
        terms = sources.read(scope["headers"], request, arrival)
        if request is None:
            REQUESTS.inc("too_large" if content is None else "unreadable")
            priority = priority_of(None, arrival, self._breaker.offset_of(terms.priority_class))
            return _with(scope, PRIORITY, str(priority)), send
        question = self._question(request, arrival, terms)
        until = None if terms.deadline is None else terms.deadline - time.time()
        queue, outcome = await order_in_time(question, self._load, until)
        REQUESTS.inc(outcome)
        self._reporter.placed(outcome)
        scope = _with(scope, PRIORITY, str(priority_of(queue, arrival, self._breaker.offset_of(terms.priority_class))))
        if not request.one_answer_per_prompt:
            return scope, send
        stored = partial(_stored_predictions, arrival=arrival, request=request, beside=self._load.in_engine)
        if outcome in TOO_LATE:
            return self._asked_late(scope, route, request, question, stored, visit), send
        return (scope, send) if queue is None else self._followed(scope, send, route, request, stored(queue))

    def _question(self, request: OpenAIRequest, arrival: float, terms: RequestTerms) -> Question:
        async def question(timeout: float, late: bool) -> Order:
            counts = self._predictions.prompt_tokens.estimates("", request.texts)
            # What runs is among those beside it: the engine does not tell it apart here.
            return await order_of(
                self._breaker,
                request,
                arrival,
                self._load.in_flight - 1,
                terms=terms,
                counts=counts,
                timeout=timeout,
                late=late,
            )

        return question

    def _asked_late(
        self,
        scope: Scope,
        route: Route,
        request: OpenAIRequest,
        question: Question,
        stored: Callable[[RankedQueue], Sequence[StoredPrediction | None]],
        visit: Visit,
    ) -> Scope:
        """The scope with an id, under which a score is kept that comes while the request waits or runs."""
        if route is Route.RESPONSES and request.request_id is None:
            return scope  # vLLM makes its id up, and tells it only with the answer
        scope, base = _with_request_id(scope, request, route)
        ids = engine_ids(route, base, len(request.prompts))
        visit.on_leaving = self._late_scores.ask(question, lambda queue: self._store(ids, stored(queue)))
        return scope

    def _followed(
        self,
        scope: Scope,
        send: Send,
        route: Route,
        request: OpenAIRequest,
        entries: Sequence[StoredPrediction | None],
    ) -> tuple[Scope, Send]:
        """The scope with an id that the engine will report under; or a send that looks for the one it makes up."""
        if route is Route.RESPONSES and request.request_id is None:
            return scope, self._watch_for_id(send, entries)
        scope, base = _with_request_id(scope, request, route)
        self._store(engine_ids(route, base, len(request.prompts)), entries)
        return scope, send

    def _store(self, ids: Sequence[str], entries: Sequence[StoredPrediction | None]) -> None:
        for engine_id, entry in zip(ids, entries, strict=False):
            if entry is not None:
                self._predictions.put(engine_id, entry)

    def _watch_for_id(self, send: Send, entries: Sequence[StoredPrediction | None]) -> Send:
        """A send that passes everything on and reads a response's id out of its beginning: vLLM makes it up itself."""
        seen = b""
        looking = True

        async def watch(message: Message) -> None:
            nonlocal seen, looking
            if looking and message["type"] == "http.response.body":
                seen += message.get("body", b"")[:_SEARCHED_BYTES]
                if (found := _RESPONSE_ID.search(seen)) is not None:
                    self._store(engine_ids(Route.RESPONSES, found[1].decode(), 1), entries)
                looking = found is None and len(seen) < _SEARCHED_BYTES
                seen = seen if looking else b""
            await send(message)

        return watch


def _watched(send: Send, visit: Visit) -> Send:
    """A send that passes everything on and notes when the answer begins."""
    how: Begun | None = None

    async def watch(message: Message) -> None:
        nonlocal how
        if message["type"] == "http.response.start" and message["status"] == 200:
            kind = (_first(message.get("headers", ()), b"content-type") or b"").lower()
            how = Begun.STREAM if kind.startswith(b"text/event-stream") else Begun.WHOLE
        elif how is not None and message.get("body"):
            visit.begun(how)
            how = None
        await send(message)

    return watch


def _stored_predictions(
    queue: RankedQueue, arrival: float, request: OpenAIRequest, beside: int
) -> list[StoredPrediction | None]:
    """What to remember, in the order that was asked in."""
    return [
        StoredPrediction(r.request_id, r.prediction, arrival, request.ignore_eos, request.texts[r.index], beside)
        if r.prediction is not None
        else None
        for r in sorted(queue, key=lambda r: r.index)
    ]


def _with_request_id(scope: Scope, request: OpenAIRequest, route: Route) -> tuple[Scope, str]:
    """The scope and the id that vLLM will build its own on; one is made up where the client gave none."""
    if route is Route.RESPONSES:
        return scope, request.request_id or ""
    given = _first(scope["headers"], REQUEST_ID)
    if given is not None:
        return scope, given.decode("latin-1")
    if request.request_id is not None:
        return scope, request.request_id
    made_up = uuid.uuid4().hex
    return _with(scope, REQUEST_ID, made_up), made_up


def _first(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _with(scope: Scope, name: bytes, value: str) -> Scope:
    """The scope with a header in place of those of that name; the scope given stays as it is."""
    headers = [(key, old) for key, old in scope["headers"] if key.lower() != name]
    return {**scope, "headers": [*headers, (name, value.encode())]}


def _is_json(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """What vLLM takes for JSON; it refuses everything else."""
    return (_first(headers, b"content-type") or b"").lower().split(b";", 1)[0] == b"application/json"


def _length(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The length that a request claims; 0 where it claims none."""
    value = _first(headers, b"content-length") or b""
    return int(value) if value.isdigit() and len(value) < 20 else 0


def engine_ids(route: Route, base: str, prompts: int) -> list[str]:
    """The ids under which vLLM's stat logger will name the answers to a request's prompts."""
    if route is Route.COMPLETIONS:
        return [f"cmpl-{base}-{index}" for index in range(prompts)]
    # What a built-in tool adds to a response, are requests of their own (_1, _2 ...): those are not what was ranked.
    return [f"{base}_0" if route is Route.RESPONSES else f"chatcmpl-{base}"]
