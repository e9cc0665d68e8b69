"""One queue over one stream, as deltas, for an engine that orders at every iteration. It fails open, as calls do.

The stream keeps the queue on this side too: whatever happens, it has an order, and a new daemon can be told everything.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rankd_client._core import (
    MAX_BYTES,
    MAX_ITEMS,
    TO_PROTO,
    Queue,
    by_arrival,
    checked,
    message_of,
    note,
    seconds,
    set_time,
)
from rankd_client._failures import BadAnswerError, StreamEndedError, explain, readable, reason_name
from rankd_client.ordering import Policy
from rankd_client.types import ClientStats, Item
from rankd_client.v1 import prediction_pb2, rank_pb2

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_HUNG = 5.0
"""Seconds without an answer after which a stream is given up. A late answer alone is no reason to send all again."""


@dataclass(slots=True)
class _Entry:
    """A request of the queue, prompt included; ``joined`` is the message that it arrived with."""

    item: rank_pb2.RankItem
    arrival: float
    joined: int
    wants_prompt: bool = False

    def message(self) -> rank_pb2.RankItem:
        """What to send: the prediction where there is one, unless the daemon could not use it."""
        if not self.item.HasField("prediction") or self.wants_prompt:
            return self.item
        lean = rank_pb2.RankItem(
            request_id=self.item.request_id,
            prediction=self.item.prediction,
            arrival_time=self.item.arrival_time,
            max_token_count=self.item.max_token_count,
            generated_token_count=self.item.generated_token_count,
            prompt_token_count=self.item.prompt_token_count,
            deadline=self.item.deadline if self.item.HasField("deadline") else None,
            overtaken_count=self.item.overtaken_count,
            priority_class=self.item.priority_class,
            tenant=self.item.tenant,
            running=self.item.running,
        )
        return lean if self.item.HasField("prompt") else self.item


class StreamCore:
    """The queue, what to tell the daemon of it, and what it answers. No I/O."""

    def __init__(self, stats: ClientStats, model: str, policy: Policy | None) -> None:
        """Begin with an empty queue."""
        self.entries: dict[str, _Entry] = {}
        self.reason = ""
        self.sequence = 0
        self._stats, self._pause, self._retry_at, self._heard = stats, _FIRST_PAUSE, 0.0, 0.0
        self._options = rank_pb2.RankStreamOptions(model=model, policy=TO_PROTO[policy] if policy else None)

    def change(
        self, arrived: Iterable[Item], progressed: Mapping[str, int], gone: Iterable[str]
    ) -> rank_pb2.RankStreamRequest:
        """Change the queue; gives the same change for the daemon.

        Raises:
            ValueError: naming the field that the caller must correct; the queue is as before.
        """
        items, left = list(arrived), list(gone)
        if any(i.request_id is None for i in items):
            raise ValueError("arrived: every item needs a request_id, to know it again in the order")
        if any(not 0 <= n < 2**32 for n in progressed.values()):
            raise ValueError("progressed: token counts must be in 0 to 2**32 - 1")
        new = Queue(items)
        # Made before anything is changed: an impossible field leaves all as it was.
        messages = [message_of(i, r, a) for i, r, a in zip(new.items, new.ids, new.arrival, strict=True)]
        delta = rank_pb2.RankStreamRequest(gone_request_ids=[i for i in left if i in self.entries])
        for request_id in left:
            self.entries.pop(request_id, None)
        for request_id, arrival, message in zip(new.ids, new.arrival, messages, strict=True):
            self.entries[request_id] = _Entry(message, arrival, self.sequence + 1)
        for request_id, tokens in progressed.items():
            if (entry := self.entries.get(request_id)) is not None:
                entry.item.generated_token_count = tokens
                delta.progressed.add(request_id=request_id, generated_token_count=tokens)
        return delta

    def messages(
        self, delta: rank_pb2.RankStreamRequest, max_wait: float, *, opening: bool
    ) -> list[rank_pb2.RankStreamRequest]:
        """What to send: the change, or all of the queue where the stream is new. Each within the message limit."""
        if opening:
            delta = rank_pb2.RankStreamRequest(options=self._options)
            self._heard = time.monotonic()
        out, size = [delta], delta.ByteSize()
        for entry in self.entries.values():
            if not (opening or entry.joined > self.sequence or entry.wants_prompt):
                continue
            message = entry.message()
            entry.wants_prompt = False
            if size + message.ByteSize() + 8 > MAX_BYTES or len(out[-1].arrived) >= MAX_ITEMS:
                out.append(rank_pb2.RankStreamRequest())
                size = 0
            out[-1].arrived.append(message)
            size += message.ByteSize() + 8
        now = time.time()
        for request in out:
            self.sequence += 1
            request.sequence = self.sequence
            set_time(request.now, now)
        out[-1].max_wait.FromNanoseconds(round(max_wait * 1e9))
        return out

    def take(self, answer: Any) -> list[str] | None:
        """Read an answer: the order, or None where it is that of an earlier message.

        Raises:
            BadAnswerError: it does not hold the queue.
            Exception: what came instead of an answer.
        """
        if isinstance(answer, BaseException):
            raise answer
        self._heard = time.monotonic()
        for ranked in readable(answer).changed_items:
            entry = self.entries.get(ranked.request_id)
            if entry is None or entry.joined > answer.sequence:
                continue  # it is gone, or another request has its id by now
            if ranked.HasField("prediction"):
                entry.item.prediction.CopyFrom(checked(ranked.prediction))
            # Asked for what was sent without it: the ranker changed.
            entry.wants_prompt = ranked.needs_prompt and entry.item.HasField("prompt")
        if answer.sequence < self.sequence:
            return None
        order = list(answer.request_ids)
        if answer.sequence != self.sequence or len(order) != len(self.entries) or set(order) != self.entries.keys():
            raise BadAnswerError("the daemon's answer does not hold every request exactly once")
        self._pause, self.reason = _FIRST_PAUSE, reason_name(answer.reason)
        note(self._stats, self.reason)
        return order

    def may_open(self) -> bool:
        """Whether to try a new stream now: after a failure not at once, the whole queue goes along."""
        return time.monotonic() >= self._retry_at

    def failed(self, error: BaseException) -> tuple[list[str], bool]:
        """The queue in arrival order, and whether to give the stream up."""
        self.reason, text = explain(TimeoutError() if isinstance(error, queue.Empty) else error)
        late = isinstance(error, TimeoutError | queue.Empty) and time.monotonic() - self._heard < _HUNG
        if not late:
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return self.local(text), not late

    def local(self, error: str = "") -> list[str]:
        """The queue in arrival order, by the rules that rest on no prediction; ``reason`` stays what it was."""
        note(self._stats, self.reason, error)
        ids, entries = list(self.entries), self.entries.values()
        ordering = by_arrival(
            ids,
            [e.arrival for e in entries],
            running=[e.item.running for e in entries],
            classes=[e.item.priority_class for e in entries],
            tenants=[e.item.tenant for e in entries],
            prompt_tokens=[e.item.prompt_token_count for e in entries],
        )
        return [ids[i] for i in ordering.order.tolist()]

    def prediction(self, request_id: str) -> prediction_pb2.Prediction | None:
        """The prediction of a request in the queue."""
        entry = self.entries.get(request_id)
        return entry.item.prediction if entry is not None and entry.item.HasField("prediction") else None


class RankStream:
    """One queue over one stream; made by :meth:`rankd_client.RankClient.stream`. Safe to share between threads."""

    def __init__(self, rpc: Callable[..., Any], core: StreamCore, timeout: float) -> None:
        """Nothing is opened before the first step."""
        self._rpc, self._core, self._timeout = rpc, core, timeout
        self._lock = threading.Lock()
        self._call: Any = None
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def reason(self) -> str:
        """Why the last order is not ranked; empty where it is. As in :class:`rankd_client.RankedQueue`."""
        return self._core.reason

    def prediction(self, request_id: str) -> prediction_pb2.Prediction | None:
        """The prediction of a request that has not gone, for its report; None where there is none."""
        return self._core.prediction(request_id)

    def step(
        self,
        arrived: Iterable[Item] = (),
        progressed: Mapping[str, int] | None = None,
        gone: Iterable[str] = (),
        max_wait: float = 0.0,
        timeout: float | None = None,
    ) -> list[str]:
        """Change the queue and order it. Never raises for the daemon's sake: else the order is that of arrival.

        Args:
            arrived: requests that joined; an id that is in the queue already is replaced.
            progressed: tokens produced so far, by id.
            gone: ids that left. Unknown ids are ignored.
            max_wait: seconds that the daemon may wait for scores of what arrived.
            timeout: seconds to wait for the answer; default: the client's, and ``max_wait``.

        Returns:
            The ids of the whole queue, the first to serve first.

        Raises:
            ValueError: a field is impossible, or a time is NaN; nothing was changed.
            TypeError: an item is none, or one of its fields is of another type; nothing was changed.
        """
        with self._lock:
            wait = seconds(max_wait, "max_wait")
            end = time.monotonic() + (self._timeout + wait if timeout is None else seconds(timeout))
            delta = self._core.change(arrived, progressed or {}, gone)
            opening = self._call is None
            if opening and not self._core.may_open():
                return self._core.local()
            try:
                messages = self._core.messages(delta, wait, opening=opening)
                if opening:
                    self._open()
                for message in messages:
                    self._outbox.put(message)
                while (order := self._core.take(self._inbox.get(timeout=max(0.0, end - time.monotonic())))) is None:
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost a request
                order, give_up = self._core.failed(error)
                if give_up:
                    self._drop()
            return order

    def _open(self) -> None:
        self._outbox, self._inbox = queue.SimpleQueue(), queue.SimpleQueue()
        self._call = self._rpc(iter(self._outbox.get, None))
        threading.Thread(target=_read, args=(self._call, self._inbox), name="rankd-stream", daemon=True).start()

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._outbox.put(None)  # grpc's thread waits there
            self._call = None

    def close(self) -> None:
        """End the stream. A later step opens a new one."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(call: Any, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        for answer in call:
            inbox.put(answer)
        inbox.put(StreamEndedError())
    except Exception as error:  # noqa: BLE001 - the step that waits for an answer gets it
        inbox.put(error)


class AsyncRankStream:
    """One queue over one stream; made by :meth:`rankd_client.AsyncRankClient.stream`. One step at a time."""

    def __init__(self, rpc: Callable[..., Any], core: StreamCore, timeout: float) -> None:
        """Nothing is opened before the first step."""
        self._rpc, self._core, self._timeout = rpc, core, timeout
        self._lock = asyncio.Lock()
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()

    @property
    def reason(self) -> str:
        """Why the last order is not ranked; empty where it is. As in :class:`rankd_client.RankedQueue`."""
        return self._core.reason

    def prediction(self, request_id: str) -> prediction_pb2.Prediction | None:
        """The prediction of a request that has not gone, for its report; None where there is none."""
        return self._core.prediction(request_id)

    async def step(
        self,
        arrived: Iterable[Item] = (),
        progressed: Mapping[str, int] | None = None,
        gone: Iterable[str] = (),
        max_wait: float = 0.0,
        timeout: float | None = None,
    ) -> list[str]:
        """Change the queue and order it, as :meth:`RankStream.step` does.

        Raises:
            ValueError: a field is impossible, or a time is NaN; nothing was changed.
            TypeError: an item is none, or one of its fields is of another type; nothing was changed.
        """
        async with self._lock:
            wait = seconds(max_wait, "max_wait")
            end = time.monotonic() + (self._timeout + wait if timeout is None else seconds(timeout))
            delta = self._core.change(arrived, progressed or {}, gone)
            opening = self._call is None
            if opening and not self._core.may_open():
                return self._core.local()
            try:
                messages = self._core.messages(delta, wait, opening=opening)
                if opening:
                    self._open()
                for message in messages:
                    self._outbox.put_nowait(message)
                while (order := self._core.take(await self._next(end))) is None:
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost a request
                order, give_up = self._core.failed(error)
                if give_up:
                    self._drop()
            return order

    async def _next(self, end: float) -> Any:
        if not self._inbox.empty():  # also where no time is left
            return self._inbox.get_nowait()
        return await asyncio.wait_for(self._inbox.get(), max(0.0, end - time.monotonic()))

    def _open(self) -> None:
        self._outbox, self._inbox = asyncio.Queue(), asyncio.Queue()
        self._call = self._rpc(_sent(self._outbox))
        self._reader = asyncio.create_task(_aread(self._call, self._inbox), name="rankd-stream")

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._outbox.put_nowait(None)
            self._call = None

    async def close(self) -> None:
        """End the stream. A later step opens a new one."""
        async with self._lock:
            self._drop()
            if self._reader is not None:
                await asyncio.wait([self._reader])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _sent(outbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (message := await outbox.get()) is not None:
        yield message


async def _aread(call: Any, inbox: asyncio.Queue[Any]) -> None:
    try:
        async for answer in call:
            inbox.put_nowait(answer)
        inbox.put_nowait(StreamEndedError())
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the step that waits for an answer gets it
        # A cancelled call is no cancelled task: as another kind of error, so that nobody takes it for one.
        inbox.put_nowait(StreamEndedError() if isinstance(error, asyncio.CancelledError) else error)
