"""What the asyncio client does otherwise than the other one; ``_sync_io`` has the same names, with threads."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio

from rankd_client import _failures
from rankd_client._connection import Connection
from rankd_client._failures import CLOSED, NotConnectedError, StreamEndedError, readable
from rankd_client._forks import follow_forks
from rankd_client._token import Metadata

GRPC = grpc.aio
FAILURES: tuple[type[BaseException], ...] = (Exception, asyncio.CancelledError)
"""All that a call may fail with; a closed channel cancels its calls."""
NO_ANSWER: tuple[type[BaseException], ...] = (*_failures.NO_ANSWER, asyncio.CancelledError)


def raise_if_cancelled(failure: BaseException) -> None:
    """Raise a cancellation of the running task on; a closed channel ends its calls by an error of the same type."""
    task = asyncio.current_task()
    if isinstance(failure, asyncio.CancelledError) and (task is None or task.cancelling()):
        raise failure


def start(rpc: Callable[..., Any], request: Any, *, timeout: float, metadata: Metadata) -> Any:
    """Begin a call; ``results`` waits for it."""
    return rpc(request, timeout=timeout, metadata=metadata)


async def results(calls: Sequence[Any]) -> list[Any]:
    """The answers of calls that run at the same time."""
    return [readable(answer) for answer in await asyncio.gather(*calls)]


class AsyncTurns:
    """One task after the other, of one loop or of several. A loop that ended, or stands still, keeps nobody waiting."""

    _PAUSE = 0.001
    """Seconds between two looks, while it is the turn of another loop's: loops cannot wake each other here."""

    def __init__(self) -> None:
        """It is nobody's turn."""
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue = asyncio.Lock()
        """Where the tasks of one loop wait for each other."""
        self._whose: asyncio.Task[Any] | None = None
        follow_forks(self)

    def forked(self) -> None:
        """Whoever's turn it was is not in this process."""
        self._guard, self._loop, self._whose = threading.Lock(), None, None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and take it."""
        task = asyncio.current_task()
        assert task is not None
        async with self._queue_of(task.get_loop()):
            while not self._take(task):  # noqa: ASYNC110 - an event wakes its own loop only
                await asyncio.sleep(self._PAUSE)
            try:
                yield
            finally:
                with self._guard:
                    if self._whose is task:
                        self._whose = None

    def _queue_of(self, loop: asyncio.AbstractEventLoop) -> asyncio.Lock:
        with self._guard:
            if self._loop is not loop:
                self._loop, self._queue = loop, asyncio.Lock()
            return self._queue

    def _take(self, task: asyncio.Task[Any]) -> bool:
        with self._guard:
            if self._whose is not None and not self._whose.done() and self._whose.get_loop().is_running():
                return False
            self._whose = task
            return True


class AsyncConnections:
    """A connection for each event loop that asks: grpc.aio binds channels to the loop in which they are made."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """Open nothing yet; there need not be a loop."""
        self._connect = connect
        self._lock = threading.Lock()
        self._of: dict[asyncio.AbstractEventLoop, tuple[Connection, AsyncGenerator[None]]] = {}
        self._inherited: list[object] = []
        self._closed = False
        follow_forks(self)

    def forked(self) -> None:
        """The parent's connections are left alone: gRPC would wait for its threads even where it lets go of them."""
        self._lock = threading.Lock()
        self._inherited.append(self._of)
        self._of = {}

    def here(self) -> Connection:
        """The connection of the running loop.

        Raises:
            NotConnectedError: it was closed, or gRPC does not work in this process.
        """
        loop = asyncio.get_running_loop()
        held = self._of.get(loop)
        return self._opened(loop) if held is None else held[0]

    def _opened(self, loop: asyncio.AbstractEventLoop) -> Connection:
        with self._lock:
            if self._closed:
                raise NotConnectedError(*CLOSED)
            # First, so that gRPC lets go of all it has of these loops where nobody else uses it.
            for ended in [other for other in self._of if other.is_closed()]:
                del self._of[ended]
            connection = self._connect()
            end = _close_with_loop(weakref.ref(self), loop, connection)
            with suppress(StopIteration):  # to its yield: from then on the loop knows it
                end.__anext__().send(None)
            self._of[loop] = connection, end
            return connection

    def _forget(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        with self._lock:
            if (held := self._of.get(loop)) is not None and held[0] is connection:
                del self._of[loop]

    async def close(self) -> None:
        """Close them for good; those of other loops by these loops, without waiting for it."""
        with self._lock:
            self._closed = True
            connections, self._of = self._of, {}
        here = asyncio.get_running_loop()
        for loop, (_, end) in connections.items():
            if loop is here:
                await end.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(_close(end), loop)


_SETTLE = 0.002
"""Seconds in which gRPC tells a loop of calls that were cancelled: what it tells an ended loop it complains of."""


async def _close_with_loop(
    owner: weakref.ref[AsyncConnections], loop: asyncio.AbstractEventLoop, connection: Connection
) -> AsyncGenerator[None]:
    """Close a connection when this generator is closed; asyncio does that to those of a loop, before the loop ends."""
    try:
        yield
    finally:
        if (connections := owner()) is not None:
            connections._forget(loop, connection)  # noqa: SLF001 - it is a part of it
        for channel in connection.channels:
            await channel.close()
        await asyncio.sleep(_SETTLE)


async def _close(generator: AsyncGenerator[None]) -> None:
    await generator.aclose()


class AsyncDuplex:
    """A stream to the daemon and back, open until it is cancelled or fails."""

    def __init__(self, rpc: Callable[..., Any], metadata: Metadata) -> None:
        """Open it."""
        self.metadata = metadata
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._call: Any = rpc(self._sent(), metadata=metadata)
        self._reader = asyncio.create_task(self._read(), name="rankd-stream")

    def is_here(self) -> bool:
        """Whether it can be used: its call and its task belong to the loop that it was opened in."""
        return self._loop is asyncio.get_running_loop()

    def send(self, message: Any) -> None:
        """Hand a message over; never waits."""
        self._outbox.put_nowait(message)

    async def next(self, end: float) -> Any:
        """The next answer, or the exception that the stream ended with.

        Raises:
            TimeoutError: there is none by that monotonic time.
        """
        if not self._inbox.empty():  # also where no time is left
            return self._inbox.get_nowait()
        return await asyncio.wait_for(self._inbox.get(), max(0.0, end - time.monotonic()))

    def cancel(self) -> None:
        """End it."""
        if self.is_here():
            self._end()
        else:
            with suppress(RuntimeError):  # its loop has ended, and the call with it
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._outbox.put_nowait(None)

    async def ended(self) -> None:
        """Wait until its task is over."""
        if self.is_here():
            await asyncio.wait([self._reader])

    async def _sent(self) -> AsyncIterator[Any]:
        while (message := await self._outbox.get()) is not None:
            yield message

    async def _read(self) -> None:
        try:
            async for answer in self._call:
                self._inbox.put_nowait(answer)
            self._inbox.put_nowait(StreamEndedError())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the step that waits for an answer gets it
            # A cancelled call is no cancelled task: as another kind of error, so that nobody takes it for one.
            self._inbox.put_nowait(StreamEndedError() if isinstance(error, asyncio.CancelledError) else error)
        finally:
            self._call = None  # with it goes the channel, and all that gRPC keeps of an ended loop
