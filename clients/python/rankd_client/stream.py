"""One queue over one stream, as deltas, for an engine that orders at every iteration. It fails open, as calls do.

The stream keeps the queue on this side too: whatever happens, it has an order, and a new daemon can be told everything.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Self

from rankd_client._core import NOBODY, seconds
from rankd_client._failures import StreamEndedError
from rankd_client._stream_core import StreamCore
from rankd_client._token import Metadata, Token
from rankd_client.types import Item, Progress
from rankd_client.v1 import prediction_pb2


class RankStream:
    """One queue over one stream; made by :meth:`rankd_client.RankClient.stream`. Safe to share between threads."""

    def __init__(self, rpc: Callable[..., Any], core: StreamCore, timeout: float, token: Token) -> None:
        """Nothing is opened before the first step."""
        self._rpc, self._core, self._timeout, self._token = rpc, core, timeout, token
        self._opened_with: Metadata = ()
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
        progressed: Mapping[str, int | Progress] | None = None,
        gone: Iterable[str] = (),
        max_wait: float = 0.0,
        timeout: float | None = None,
        served: Mapping[str, float] = NOBODY,
        weights: Mapping[str, float] = NOBODY,
    ) -> list[str]:
        """Change the queue and order it. Never raises for the daemon's sake: else the order is that of arrival.

        Args:
            arrived: requests that joined; an id that is in the queue already is replaced.
            progressed: tokens produced so far, by id, or a ``Progress``, which also says whether it runs.
            gone: ids that left. Unknown ids are ignored.
            max_wait: seconds that the daemon may wait for scores of what arrived.
            timeout: seconds to wait for the answer; default: the client's, and ``max_wait``.
            served: what tenants were served so far, in output tokens; replaces what was said before of those named.
            weights: of tenants; default 1.

        Returns:
            The ids of the whole queue, the first to serve first.

        Raises:
            ValueError: a field is impossible, or a time is NaN; nothing was changed.
            TypeError: an item is none, or one of its fields is of another type; nothing was changed.
        """
        with self._lock:
            wait = seconds(max_wait, "max_wait")
            end = time.monotonic() + (self._timeout + wait if timeout is None else seconds(timeout))
            delta = self._core.change(arrived, progressed or {}, gone, served, weights)
            if self._call is not None and self._token.metadata() != self._opened_with:
                self._drop()  # the old token is on its way out, and the stream would be ended with it
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
        self._opened_with = self._token.metadata()
        self._call = self._rpc(iter(self._outbox.get, None), metadata=self._opened_with)
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

    def __init__(self, rpc: Callable[..., Any], core: StreamCore, timeout: float, token: Token) -> None:
        """Nothing is opened before the first step."""
        self._rpc, self._core, self._timeout, self._token = rpc, core, timeout, token
        self._opened_with: Metadata = ()
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
        progressed: Mapping[str, int | Progress] | None = None,
        gone: Iterable[str] = (),
        max_wait: float = 0.0,
        timeout: float | None = None,
        served: Mapping[str, float] = NOBODY,
        weights: Mapping[str, float] = NOBODY,
    ) -> list[str]:
        """Change the queue and order it, as :meth:`RankStream.step` does.

        Raises:
            ValueError: a field is impossible, or a time is NaN; nothing was changed.
            TypeError: an item is none, or one of its fields is of another type; nothing was changed.
        """
        async with self._lock:
            wait = seconds(max_wait, "max_wait")
            end = time.monotonic() + (self._timeout + wait if timeout is None else seconds(timeout))
            delta = self._core.change(arrived, progressed or {}, gone, served, weights)
            if self._call is not None and self._token.metadata() != self._opened_with:
                self._drop()  # the old token is on its way out, and the stream would be ended with it
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
        self._opened_with = self._token.metadata()
        self._call = self._rpc(_sent(self._outbox), metadata=self._opened_with)
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
