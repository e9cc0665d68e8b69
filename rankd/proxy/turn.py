"""A request's turn: its score, its place in the line, and what is followed of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import structlog
from rankd_client import RankedQueue
from rankd_client.integration import Begun, Route

from rankd.proxy.content_coding import codings_of
from rankd.proxy.headers import Fields
from rankd.proxy.ranking import LateQuestion, RankedRequest
from rankd.proxy.reporting import TrackedRequest
from rankd.proxy.shared import Shared
from rankd.proxy.upstream import EngineInfo
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")


class Turn:
    """Begins when a request for a priority is there, and lives until its answer has ended."""

    def __init__(self, shared: Shared, engine: EngineInfo, arrival: float) -> None:
        """It counts as under way from now on; ``end`` must follow. ``arrival`` is seconds since the epoch."""
        self._shared, self._engine, self._arrival = shared, engine, arrival
        shared.ranking.waiting += 1
        self._is_waiting = True
        self._visit = shared.ranking.load.arrive()
        self._place = shared.holding.place()
        self.ranked = RankedRequest("")
        """What becomes of it by now: a score that comes late changes that, until it goes to the engine."""
        self._claimed: RankedRequest | None = None
        """What was ranked for a model, until the engine's answer says whether it serves that."""
        self.tracked: TrackedRequest | None = None
        self._ends_asking: Callable[[], None] | None = None
        self._answered = False
        self._how = Begun.WHOLE

    @property
    def is_followed(self) -> bool:
        """Whether its answer is, or may be yet, read along."""
        return self.tracked is not None or self._ends_asking is not None

    async def ask(self, route: Route | None, fields: Fields, content: bytes | None, unread: str) -> None:
        """Ask for its score, as long as it may be held up by that.

        Args:
            route: the endpoint, None for one that is not ranked.
            fields: the request's header.
            content: its body; None where it was not read.
            unread: why it was not.
        """
        ranking, engine, arrival = self._shared.ranking, self._engine, self._arrival
        try:
            if content is None or route is None:
                outcome = unread if content is None else "arrival_only"
                ranked = ranking.by_arrival(engine, fields, arrival, outcome)
            else:
                ranked = await ranking.rank(engine, route, fields, content, arrival)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost a request
            _log.error("internal_error", **describe_error(error))
            ranked = ranking.by_arrival(engine, fields, arrival, f"error:{type(error).__name__}")
        self.ranked = self._claimed = ranked
        self._shared.metrics.requests.inc(ranked.outcome)
        self._shared.tracker.placed(ranked.outcome)
        if route is not None and ranked.late is not None:
            take = partial(self._take, ranked.late, route)
            self._ends_asking = self._shared.late_scores.ask(ranked.late.ask, take)
        elif route is not None and ranked.queue is not None:
            self.tracked = self._shared.tracker.track(ranked, route, arrival)

    def _take(self, late: LateQuestion, route: Route, queue: RankedQueue) -> None:
        """Take a score that came late: it may be moved in the line here, and its answer is reported."""
        if self._answered:
            return  # what passed by of it was not read
        self.ranked = dataclasses.replace(self.ranked, queue=queue, priority=late.priority(queue))
        self.tracked = self._shared.tracker.track(self.ranked, route, self._arrival)
        self._shared.holding.move(self._place, self.ranked.key(self._engine, self._arrival))

    async def let_in(self) -> None:
        """Wait for a place in the engine, where the proxy is told how many there are."""
        self._visit.sent()
        await self._shared.holding.enter(self._place, self.ranked.key(self._engine, self._arrival))

    def answered(self, answer: aiohttp.ClientResponse, take_memory: Callable[[int], bool]) -> None:
        """Its answer's head is there; an error is not followed."""
        self._answered = True
        self._settle_model(answer.status)
        tracked = self.tracked
        if not 200 <= answer.status < 300:
            self._visit.left()
            if tracked is not None:
                self._shared.tracker.refused(tracked)
            self.tracked = None
            return
        kind = answer.headers.get("Content-Type", "").strip().lower()
        self._how = Begun.STREAM if kind.startswith("text/event-stream") else Begun.WHOLE
        if tracked is not None:
            self._shared.tracker.begins(tracked, kind, codings_of(answer.raw_headers), take_memory)

    def first_byte(self) -> None:
        """The first of its answer's body is there."""
        self._stop_waiting()
        self._visit.begun(self._how)

    def complete(self) -> None:
        """All of its answer is there."""
        if self.tracked is not None:
            self._shared.tracker.ended(self.tracked)
            self.tracked = None

    def lost(self, finish: Any) -> None:
        """It ends before its answer does."""
        if self.tracked is not None:
            self._shared.tracker.broken_off(self.tracked, finish)
            self.tracked = None

    def end(self) -> None:
        """It is over, however it ended."""
        self._stop_waiting()
        if self._ends_asking is not None:
            self._ends_asking()
        self._visit.left()
        self._shared.holding.leave(self._place)
        if self._claimed is not None:
            self._settle_model(None)

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._shared.ranking.waiting -= 1

    def _settle_model(self, status: int | None) -> None:
        claimed, self._claimed = self._claimed, None
        if claimed is not None and claimed.request is not None:
            models, asked = self._shared.ranking.models, claimed.request.model
            self._shared.metrics.of_model(models.settle(asked, claimed.model, status), claimed.outcome).inc()
