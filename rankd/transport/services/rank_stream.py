"""RankStream's steps: a delta in, the order of the whole queue out.

A step of a long queue is work for tens of milliseconds: it is done in time slices (``time_slices.py``). A delta
that changes nothing, on a queue of which nothing new can be known, is answered with the order told last.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rankd_client.v1 import rank_pb2

from rankd.completion_log import CompletionLog
from rankd.ranking.ranker import Basis, Ranker
from rankd.settings import Settings
from rankd.transport.convert.request import (
    RequestColumns,
    Violations,
    check_count,
    check_model,
    check_unique,
    duration_of,
    name_of,
    now_of,
    policy_of,
    shares_of,
)
from rankd.transport.services.stream_queue import StreamQueue
from rankd.transport.signing import PredictionSigner
from rankd.transport.time_slices import TimeSlice, TimeSlices
from rankd.types import Answer, PromptReach, RankQueue

_AT_ONCE = 32
"""Items between two looks at the clock."""
_LOOK_AGAIN = 4.0
"""A look for new scores took some time: for so many times that, no other one is taken at a queue without changes."""


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
        ranker: Ranker,
        log: CompletionLog | None,
        settings: Settings,
        time_slices: TimeSlices,
        signer: PredictionSigner,
    ) -> None:
        """Take the use case, and the log where there is one."""
        self._signer = signer
        self._ranker = ranker
        self._log = log
        self._limits = settings.limits
        self._models = settings.quality.models
        self._time_slices = time_slices
        self._loop = asyncio.get_running_loop()

    async def take(self, state: StreamQueue, request: rank_pb2.RankStreamRequest) -> PendingAnswer:
        """Take a message in. After this it is not needed any more, and should not be kept: it may be large.

        Raises:
            InvalidRequestError: naming the fields at fault, or the limit of the queue.
            NotFoundError: the model is none that the settings list.
        """
        wait = self._read(state, request)
        async with self._time_slices.acquire() as time_slice:
            await self._change(state, request, time_slice)
        return PendingAnswer(request.sequence, wait)

    async def answer(self, state: StreamQueue, pending: PendingAnswer) -> rank_pb2.RankStreamResponse:
        """Order the queue.

        Raises:
            NotFoundError: the ranker is not loaded.
        """
        if await self._nothing_new(state, pending.wait):
            return self._again(state, pending.sequence)
        return await self._order(state, pending)

    def _read(self, state: StreamQueue, request: rank_pb2.RankStreamRequest) -> float:
        """Read what is no item; gives the seconds to wait for scores."""
        bad = Violations()
        state.now = max(state.now, now_of(request, bad))
        wait = duration_of(request.max_wait, "max_wait", bad)
        if wait > self._limits.max_stream_wait:
            bad.add("max_wait", f"is over limits.max_stream_wait = {self._limits.max_stream_wait} s")
        if not state.opened:
            options = request.options
            state.model = name_of(options.model, "options.model", self._limits, bad)
            state.ranker_version = name_of(options.ranker_version, "options.ranker_version", self._limits, bad)
            state.policy = policy_of(options.policy, "options.policy", bad)
        bad.check()
        if not state.opened:
            check_model(state.model, self._models)
            state.opened = True
        return wait

    def _share(self, state: StreamQueue, request: rank_pb2.RankStreamRequest) -> None:
        """Take in what tenants were served."""
        if not request.tenants:
            return
        bad = Violations()
        shares = shares_of(request.tenants, self._limits, bad)
        if len(state.shares.served.keys() | shares.served.keys()) > self._limits.max_items:
            bad.add("tenants", f"names more tenants in one stream than limits.max_items = {self._limits.max_items}")
        bad.check()
        state.share(shares)

    async def _change(self, state: StreamQueue, request: rank_pb2.RankStreamRequest, time_slice: TimeSlice) -> None:
        """Change the queue. What arrives is judged before it joins; a bad item ends the stream."""
        bad = Violations()
        check_count(request.arrived, "arrived", self._limits, bad)
        check_unique([i.request_id for i in request.arrived], "arrived", bad)
        bad.check()
        arrived = RequestColumns(self._limits, bad, state.now)
        for index, item in enumerate(request.arrived):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            self._signer.filter_untrusted(item, f"arrived[{index}]", state.model)
            arrived.add(item, "arrived", index)
        bad.check()
        self._share(state, request)
        await state.apply(request, arrived, self._reach(), time_slice)
        check_count(state.items, "arrived", self._limits, bad)
        if state.size > self._limits.max_stream_bytes:
            bad.add(
                "arrived",
                f"makes the queue take {state.size} bytes of memory, over limits.max_stream_bytes = "
                f"{self._limits.max_stream_bytes}: send fewer prompts at a time, the rest once these are scored",
            )
        bad.check()

    def _reach(self) -> PromptReach:
        """How much of a prompt anybody reads: the loaded rankers, and the log."""
        reach = self._ranker.reach
        if self._log is None:
            return reach
        half = -(-self._log.characters // 2)
        return PromptReach(max(reach.head, half), max(reach.tail, half))

    async def _nothing_new(self, state: StreamQueue, wait: float) -> bool:
        """Whether the order is the one told last; where the caller waits for scores, after a pause if need be."""
        last_answer = state.last_answer
        if last_answer is None or not last_answer.timeless or last_answer.basis != self._basis(state):
            return False
        if not last_answer.waiting:
            return True
        if wait and (pause := min(wait, state.look_at - self._loop.time())) > 0:
            await asyncio.sleep(pause)
        return self._loop.time() < state.look_at

    def _again(self, state: StreamQueue, sequence: int) -> rank_pb2.RankStreamResponse:
        last_answer = state.last_answer
        assert last_answer is not None
        self._ranker.repeated(last_answer.policy, last_answer.reason, len(last_answer.ids), last_answer.missing)
        return state.again(sequence, last_answer.basis.ranker_version)

    async def _order(self, state: StreamQueue, pending: PendingAnswer) -> rank_pb2.RankStreamResponse:
        basis = self._basis(state)
        began = self._loop.time()
        answer = await self._rank(state.queue(), began + pending.wait)
        if pending.wait:
            began = min(answer.scored_at, began + pending.wait)  # waiting is no work
        async with self._time_slices.acquire() as time_slice:
            response = await state.response(answer, basis, pending.sequence, time_slice, self._signer)
        now = self._loop.time()
        state.look_at = now + _LOOK_AGAIN * (now - began)
        return response

    async def _rank(self, queue: RankQueue, deadline: float) -> Answer:
        answer = await self._ranker.rank(queue, deadline)
        if self._log is not None:
            self._log.scored(queue, answer.fresh)
        return answer

    def _basis(self, state: StreamQueue) -> Basis:
        return self._ranker.basis(state.model, state.ranker_version)
