"""RankService: a message in, the use case, a message out. The steps of a stream are in ``rank_stream.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from rankd_client.v1 import rank_pb2, rank_pb2_grpc

from rankd.ranking.ranker import QueueRanker, finish
from rankd.ranking.stream import StreamQueue
from rankd.settings import Settings
from rankd.transport.answer_pace import AnswerPace
from rankd.transport.authentication import current_caller
from rankd.transport.convert.answer import response_steps
from rankd.transport.convert.queue import queue_steps
from rankd.transport.convert.request import check_model
from rankd.transport.convert.single import single_request, single_response
from rankd.transport.services.rank_stream import StreamSteps
from rankd.transport.signing import PredictionSigner
from rankd.transport.streams import StreamKind, Streams
from rankd.transport.time_slices import TimeSlices

_SHORT = 256
"""Items up to which a queue is ordered without a pause: a millisecond or two."""
_FEW = 16
"""Items up to which an answer that is late is so because of the loop, and not of its own length."""


class RankService(rank_pb2_grpc.RankServiceServicer):
    """Orders queues."""

    def __init__(
        self,
        ranker: QueueRanker,
        settings: Settings,
        streams: Streams,
        steps: StreamSteps,
        signer: PredictionSigner,
        time_slices: TimeSlices,
    ) -> None:
        """Take the use case, and what the steps of a stream do."""
        self._signer = signer
        self._time_slices = time_slices
        self._steps = steps
        self._ranker = ranker
        self._limits, self._order = settings.limits, settings.order
        self._scoring = settings.scoring
        self._models = settings.quality.models
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._pace = AnswerPace()

    async def Rank(self, request: rank_pb2.RankRequest, context: grpc.aio.ServicerContext) -> rank_pb2.RankResponse:  # noqa: N802
        """Order one queue."""
        items = request.items
        count = len(items)
        deadline, tells = self._deadline(context, count)
        if count == 1 and (known := self._known(request, items[0], deadline, tells=tells)) is not None:
            return known
        run = self._time_slices.run if count > _SHORT else None
        if count <= self._limits.max_items and self._signer.verifies:
            await self._signer.filter_all(items, "items", request.model)
        steps = queue_steps(request, self._limits, self._order)
        queue = finish(steps) if run is None else await run(steps)
        check_model(queue.model, self._models)
        answer = await self._ranker.rank(queue, deadline, run)
        answering = response_steps(answer, items)
        response = finish(answering) if run is None else await run(answering)
        if self._signer.keys is not None:
            await self._signer.sign_all(response.items, answer, queue.model)
        self._learn_pace(count, answer.scored_at, deadline, tells=tells)
        return response

    def _known(
        self, request: rank_pb2.RankRequest, item: rank_pb2.RankItem, deadline: float, *, tells: bool
    ) -> rank_pb2.RankResponse | None:
        """The answer to a queue of one that is plain, and whose score is known; None: all steps are to be taken."""
        if self._signer.keys is not None or self._signer.verifies:
            return None
        single = single_request(request, item, self._limits, self._order)
        if single is None or (self._models and single.model not in self._models):
            return None
        answer = self._ranker.rank_known(single)
        if answer is None:
            return None
        response = single_response(answer, item.request_id, single.tenant)
        self._learn_pace(1, answer.scored_at, deadline, tells=tells)
        return response

    def _learn_pace(self, items: int, scored_at: float, deadline: float, *, tells: bool) -> None:
        # From the last score, or from when there was no more waiting for any: ordering and answering.
        now = self._loop.time()
        self._pace.learn(items, now - min(scored_at, deadline))
        if tells and scored_at >= deadline:
            self._pace.late(items, now - deadline)

    def _deadline(self, context: grpc.aio.ServicerContext, items: int) -> tuple[float, bool]:
        """When to stop waiting for scores, on the loop's clock; and whether a late answer says how late that is."""
        remaining: float | None = context.time_remaining()
        if remaining is None:
            remaining = self._scoring.default_deadline
        seconds, whole = self._pace.wait(remaining, self._scoring.deadline_margin, items)
        return self._loop.time() + seconds, whole and items <= _FEW

    async def RankStream(  # noqa: N802
        self, request_iterator: AsyncIterator[rank_pb2.RankStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[rank_pb2.RankStreamResponse]:
        """Order one queue as it changes."""
        del context
        with self._streams.opened(StreamKind.RANK, current_caller().key):
            queue = StreamQueue()
            while (request := await self._streams.next(request_iterator)) is not None:
                pending = await self._steps.take(queue, request)
                del request  # all of a message stays in memory as long as any of it
                yield await self._steps.answer(queue, pending)
