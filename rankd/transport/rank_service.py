"""RankService: proto in, the use case, proto out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from rankd_client.v1 import rank_pb2, rank_pb2_grpc

from rankd.completion_log import CompletionLog
from rankd.config import Settings
from rankd.ranker import Ranker
from rankd.transport.convert import (
    POLICY_TO_PROTO,
    REASON_TO_PROTO,
    Columns,
    Violations,
    check_count,
    check_unique,
    duration_of,
    fill_items,
    name_of,
    now_of,
    policy_of,
    queue_of,
    response_of,
    timestamp,
)
from rankd.transport.models import check_model
from rankd.transport.pace import AnswerPace
from rankd.transport.streams import Streams
from rankd.types import Answer, Queue


class RankService(rank_pb2_grpc.RankServiceServicer):
    """Orders queues."""

    def __init__(self, ranker: Ranker, log: CompletionLog | None, settings: Settings, streams: Streams) -> None:
        """Take the use case, and the log where there is one."""
        self._ranker = ranker
        self._log = log
        self._limits = settings.limits
        self._scoring = settings.scoring
        self._models = settings.quality.models
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._pace = AnswerPace()

    async def Rank(self, request: rank_pb2.RankRequest, context: grpc.aio.ServicerContext) -> rank_pb2.RankResponse:  # noqa: N802
        """Order one queue."""
        deadline = self._deadline(context, len(request.items))
        queue = queue_of(request, self._limits)
        check_model(queue.model, self._models)
        answer = await self._rank(queue, deadline)
        response = response_of(answer, request.items)
        # From the last score, or from when there was no more waiting for any: ordering and answering.
        self._pace.learn(len(request.items), self._loop.time() - min(answer.scored_at, deadline))
        return response

    async def _rank(self, queue: Queue, deadline: float) -> Answer:
        answer = await self._ranker.rank(queue, deadline)
        if self._log is not None:
            self._log.scored(queue, answer.fresh)
        return answer

    def _deadline(self, context: grpc.aio.ServicerContext, items: int) -> float:
        """When to stop waiting for scores, on the loop's clock: in time to order and answer."""
        remaining: float | None = context.time_remaining()
        if remaining is None:
            remaining = self._scoring.default_deadline
        margin = self._scoring.deadline_margin + self._pace.margin(items)
        return self._loop.time() + remaining - min(margin, remaining / 2)

    async def RankStream(  # noqa: N802
        self, request_iterator: AsyncIterator[rank_pb2.RankStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[rank_pb2.RankStreamResponse]:
        """Order one queue as it changes."""
        del context
        with self._streams.opened():
            state = StreamQueue()
            while (request := await self._streams.next(request_iterator)) is not None:
                yield await self._step(state, request)

    async def _step(self, state: StreamQueue, request: rank_pb2.RankStreamRequest) -> rank_pb2.RankStreamResponse:
        bad = Violations()
        now = now_of(request, bad)
        wait = duration_of(request.max_wait, "max_wait", bad)
        if wait > self._limits.max_stream_wait:
            bad.add("max_wait", f"is over limits.max_stream_wait = {self._limits.max_stream_wait} s")
        if not state.opened:
            options = request.options
            state.model = name_of(options.model, "options.model", self._limits, bad)
            state.ranker_version = name_of(options.ranker_version, "options.ranker_version", self._limits, bad)
            state.policy = policy_of(options.policy, "options.policy", bad)
            state.opened = True
            check_model(state.model, self._models)
        check_unique([i.request_id for i in request.arrived], "arrived", bad)
        bad.check()
        # What arrived is judged before it joins; a stream with a bad item ends, its queue is the caller's to resend.
        arrived = Columns(self._limits, bad, now)
        for index, item in enumerate(request.arrived):
            arrived.add(item, "arrived", index)
        bad.check()
        state.apply(request, arrived.arrival)
        check_count(list(state.items), "arrived", self._limits, bad)
        bad.check()
        answer = await self._rank(state.queue(self._limits, now), self._loop.time() + wait)
        return state.response(answer, request.sequence)


@dataclass(slots=True)
class StreamQueue:
    """The queue of one stream: what it holds, and what the caller was told of it."""

    opened: bool = False
    model: str = ""
    ranker_version: str = ""
    policy: Any = None
    items: dict[str, rank_pb2.RankItem] = field(default_factory=dict)
    told: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """By id: the serving key, and whether it has a prediction."""

    def apply(self, request: rank_pb2.RankStreamRequest, arrival: list[float]) -> None:
        """Take a delta in: those who left, those who arrived, progress."""
        for request_id in request.gone_request_ids:
            self.items.pop(request_id, None)
            self.told.pop(request_id, None)
        for item, seconds in zip(request.arrived, arrival, strict=True):
            # The first `now` an item was seen at stays its arrival time.
            item.arrival_time.CopyFrom(timestamp(seconds))
            self.items[item.request_id] = item
            self.told.pop(item.request_id, None)
        for progress in request.progressed:
            if (running := self.items.get(progress.request_id)) is not None:
                running.generated_token_count = progress.generated_token_count

    def queue(self, limits: Any, now: float) -> Queue:
        """The queue as columns. Its items were validated when they arrived."""
        columns = Columns(limits, Violations(), now)
        for index, item in enumerate(self.items.values()):
            columns.add(item, "arrived", index)
        return columns.queue(self.model, self.policy, self.ranker_version)

    def response(self, answer: Answer, sequence: int) -> rank_pb2.RankStreamResponse:
        """Put an answer together, and remember what it tells."""
        items = list(self.items.values())
        order = answer.order.tolist()
        keys = answer.serving_key.tolist()
        place = {position: rank for rank, position in enumerate(order)}
        changed = [p for p in order if self.told.get(items[p].request_id) != (keys[p], p not in answer.missing)]
        response = rank_pb2.RankStreamResponse(
            sequence=sequence,
            request_ids=[items[p].request_id for p in order],
            policy=POLICY_TO_PROTO[answer.policy],
            reason=REASON_TO_PROTO[answer.reason],
            ranker_version=answer.ranker_version,
            unscored_count=len(answer.missing),
        )
        fill_items(response.changed_items, answer, items, changed, timestamp(time.time()))
        for ranked in response.changed_items:
            position = ranked.index
            ranked.index = place[position]
            self.told[ranked.request_id] = (keys[position], position not in answer.missing)
            if answer.fresh[position]:
                # Scored: the prediction stands for the text from here on.
                items[position].prediction.CopyFrom(ranked.prediction)
                items[position].ClearField("prompt")
        return response
