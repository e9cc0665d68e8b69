"""What the asyncio client does otherwise than the other one; ``_sync_io`` has the same names, with threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc.aio

from rankd_client import _failures
from rankd_client._failures import StreamEndedError, readable
from rankd_client._token import Metadata

GRPC = grpc.aio
Lock = asyncio.Lock
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


class AsyncDuplex:
    """A stream to the daemon and back, open until it is cancelled or fails."""

    def __init__(self, rpc: Callable[..., Any], metadata: Metadata) -> None:
        """Open it."""
        self.metadata = metadata
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._call = rpc(self._sent(), metadata=metadata)
        self._reader = asyncio.create_task(self._read(), name="rankd-stream")

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
        self._call.cancel()
        self._outbox.put_nowait(None)

    async def ended(self) -> None:
        """Wait until its task is over."""
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
