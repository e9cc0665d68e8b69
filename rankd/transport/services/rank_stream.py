"""RankStream's steps: a delta in, the order of the whole queue out.

A step of a long queue is work for tens of milliseconds: it is done in time slices (``time_slices.py``). A delta
that changes nothing, on a queue of which nothing new can be known, is answered as the last one was.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from rankd_client.v1 import rank_pb2

from rankd.ranking.ranker import Basis, QueueRanker
from rankd.ranking.stream import StreamQueue
from rankd.settings import Settings
from rankd.transport.call import current_call
from rankd.transport.convert.answer import item_filler
from rankd.transport.convert.columns import RequestColumns
from rankd.transport.convert.queue import tenant_service_steps
from rankd.transport.convert.request import (
    Violations,
    check_count,
    check_model,
    check_unique,
    duration_of,
    name_of,
    now_of,
    objective_of,
    policy_of,
    timestamp,
)
from rankd.transport.convert.stream import progress, scored, stream_items, stream_response, unpacked
from rankd.transport.signing import PredictionSigner
from rankd.transport.time_slices import TimeSlice, TimeSlices
from rankd.types import Answer, TenantService

_SHORT = 256
"""Items up to which a queue is ordered without a pause: a millisecond or two."""
_AT_ONCE = 32
"""Items between two readings of the clock."""


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """What is left of a message once its delta is taken in."""

    sequence: int
    wait: float
    """Seconds that the answer may wait for scores."""


class StreamSteps:
    """Answers the messages of streams."""

    def __init__(
        self,
        ranker: QueueRanker,
        settings: Settings,
        time_slices: TimeSlices,
        signer: PredictionSigner,
    ) -> None:
        """Take the use case."""
        self._signer = signer
        self._ranker = ranker
        self._limits = settings.limits
        self._order_settings = settings.order
        self._models = settings.quality.models
        self._time_slices = time_slices
        self._loop = asyncio.get_running_loop()

    async def take(self, queue: StreamQueue, request: rank_pb2.RankStreamRequest) -> PendingAnswer:
        """Take a message in. After this it is not needed any more, and should not be kept: it may be large.

        Raises:
            InvalidRequestError: naming the fields at fault, or the limit of the queue.
            NotFoundError: the model is none that the settings list.
        """
        wait = self._read(queue, request)
        async with self._time_slices.acquire() as time_slice:
            await self._change(queue, request, time_slice)
        return PendingAnswer(request.sequence, wait)

    async def answer(self, queue: StreamQueue, pending: PendingAnswer) -> rank_pb2.RankStreamResponse:
        """Order the queue.

        Raises:
            NotFoundError: the ranker is not loaded.
        """
        if await self._repeats(queue, pending.wait):
            return self._repeated(queue, pending.sequence)
        return await self._order(queue, pending)

    def _read(self, queue: StreamQueue, request: rank_pb2.RankStreamRequest) -> float:
        """Read what is no item; gives the seconds to wait for scores."""
        violations = Violations()
        queue.now = max(queue.now, now_of(request, violations))
        wait = duration_of(request.max_wait, "max_wait", violations)
        if wait > self._limits.max_stream_wait:
            violations.add("max_wait", f"is over limits.max_stream_wait = {self._limits.max_stream_wait} s")
        if not queue.opened:
            options = request.options
            queue.model = name_of(options.model, "options.model", self._limits, violations)
            queue.ranker_version = name_of(options.ranker_version, "options.ranker_version", self._limits, violations)
            queue.policy = policy_of(options.policy, "options.policy", violations)
            queue.objective = objective_of(options.objective, "options.objective", self._order_settings, violations)
        violations.check()
        if not queue.opened:
            check_model(queue.model, self._models)
            queue.opened = True
        return wait

    async def _change(self, queue: StreamQueue, request: rank_pb2.RankStreamRequest, time_slice: TimeSlice) -> None:
        """Change the queue. What arrives is checked before it joins; a bad item ends the stream."""
        violations = Violations()
        check_count(request.arrived, "arrived", self._limits, violations)
        check_count(request.progressed, "progressed", self._limits, violations)
        check_count(request.gone_request_ids, "gone_request_ids", self._limits, violations)
        check_unique([i.request_id for i in request.arrived], "arrived", violations)
        violations.check()
        arrived = RequestColumns(self._limits, violations, queue.now)
        for index, item in enumerate(request.arrived):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            self._signer.filter_untrusted(item, f"arrived[{index}]", queue.model)
            arrived.add(item, "arrived", index)
        violations.check()
        await self._update_tenant_service(queue, request, time_slice)
        await self._apply(queue, request, arrived, time_slice)
        check_count(queue.items, "arrived", self._limits, violations)
        if queue.size > self._limits.max_stream_bytes:
            violations.add(
                "arrived",
                f"makes the queue take {queue.size} bytes of memory, over limits.max_stream_bytes = "
                f"{self._limits.max_stream_bytes}: send fewer prompts at a time, the others once these are scored",
            )
        violations.check()
        current_call().keep(queue.memory)

    async def _update_tenant_service(
        self, queue: StreamQueue, request: rank_pb2.RankStreamRequest, time_slice: TimeSlice
    ) -> None:
        """Take in what tenants were served."""
        if not request.tenants:
            return
        violations = Violations()
        steps = tenant_service_steps(request.tenants, self._limits, violations)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                service: TenantService = end.value
                break
            if time_slice.over:
                await time_slice.next()
        if len(queue.tenant_service.served.keys() | service.served.keys()) > self._limits.max_items:
            violations.add(
                "tenants", f"names more tenants in one stream than limits.max_items = {self._limits.max_items}"
            )
        violations.check()
        queue.update_tenant_service(service)

    async def _apply(
        self,
        queue: StreamQueue,
        request: rank_pb2.RankStreamRequest,
        arrived: RequestColumns,
        time_slice: TimeSlice,
    ) -> None:
        """Take in who left, who arrived (``arrived`` has their columns), and progress."""
        reach = self._ranker.reach
        for index, request_id in enumerate(request.gone_request_ids):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            queue.drop(request_id)
        for index, item in enumerate(stream_items(arrived, request.arrived, reach)):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            queue.put(item)
        for index, step in enumerate(request.progressed):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            progress(queue, step)

    async def _repeats(self, queue: StreamQueue, wait: float) -> bool:
        """Whether the last answer still is one; where the caller waits for scores, after a pause if need be."""
        if queue.last_answer is None:
            return False
        until = queue.holds_until(self._basis(queue))
        if wait and math.isfinite(until) and (pause := min(wait, until - self._loop.time())) > 0:
            await asyncio.sleep(pause)
        return self._loop.time() < until

    def _repeated(self, queue: StreamQueue, sequence: int) -> rank_pb2.RankStreamResponse:
        last = queue.last_answer
        assert last is not None
        self._ranker.repeated(last.policy, last.reason, len(last.ids), last.missing)
        return stream_response(last, sequence)

    async def _order(self, queue: StreamQueue, pending: PendingAnswer) -> rank_pb2.RankStreamResponse:
        basis = self._basis(queue)
        began = self._loop.time()
        run = self._time_slices.run if len(queue.items) > _SHORT else None
        answer = await self._ranker.rank(queue.rank_queue(), began + pending.wait, run)
        if pending.wait:
            began = min(answer.scored_at, began + pending.wait)  # waiting is no work
        async with self._time_slices.acquire() as time_slice:
            response = await self._response(queue, answer, basis, pending.sequence, time_slice)
        queue.delay_look(began, self._loop.time())
        return response

    async def _response(
        self, queue: StreamQueue, answer: Answer, basis: Basis, sequence: int, time_slice: TimeSlice
    ) -> rank_pb2.RankStreamResponse:
        """Put an answer together: the order, and the items of which the caller does not know it all."""
        changed = queue.answered(answer, basis)
        assert queue.last_answer is not None
        response = stream_response(queue.last_answer, sequence)
        items = list(queue.items.values())
        fill = item_filler(response.changed_items, answer, items, unpacked, timestamp(time.time()))
        for count, (place, index) in enumerate(changed):
            if count % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            ranked = fill(index)
            ranked.index = place
            fresh = bool(answer.fresh[index])
            self._signer.sign(ranked, queue.model, new=fresh or index in answer.shadow_scores)
            if fresh:
                scored(queue, items[index], ranked.prediction)
        return response

    def _basis(self, queue: StreamQueue) -> Basis:
        return self._ranker.basis(queue.model, queue.ranker_version)
