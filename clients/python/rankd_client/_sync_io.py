"""What the client with threads does otherwise than the asyncio one; ``_async_io`` has the same names."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from rankd_client._failures import NO_ANSWER, StreamEndedError
from rankd_client._token import Metadata

__all__ = ["FAILURES", "GRPC", "NO_ANSWER", "Duplex", "Lock", "raise_if_cancelled", "results", "start"]

GRPC = grpc
Lock = threading.Lock
FAILURES: tuple[type[BaseException], ...] = (Exception,)
"""All that a call may fail with."""


def raise_if_cancelled(failure: BaseException) -> None:
    """Nothing: a thread is not cancelled."""


def start(rpc: Callable[..., Any], request: Any, *, timeout: float, metadata: Metadata) -> Any:
    """Begin a call; ``results`` waits for it."""
    return rpc.future(request, timeout=timeout, metadata=metadata)  # type: ignore[attr-defined]


def results(calls: Sequence[Any]) -> list[Any]:
    """The answers of calls that run at the same time."""
    return [call.result() for call in calls]


class Duplex:
    """A stream to the daemon and back, open until it is cancelled or fails."""

    def __init__(self, rpc: Callable[..., Any], metadata: Metadata) -> None:
        """Open it."""
        self.metadata = metadata
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = rpc(iter(self._outbox.get, None), metadata=metadata)
        threading.Thread(target=self._read, name="rankd-stream", daemon=True).start()

    def send(self, message: Any) -> None:
        """Hand a message over; never waits."""
        self._outbox.put(message)

    def next(self, end: float) -> Any:
        """The next answer, or the exception that the stream ended with.

        Raises:
            TimeoutError: there is none by that monotonic time.
        """
        try:
            return self._inbox.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None

    def cancel(self) -> None:
        """End it."""
        self._call.cancel()
        self._outbox.put(None)  # grpc's thread waits there

    def ended(self) -> None:
        """Nothing: its thread ends by itself."""

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._inbox.put(answer)
            self._inbox.put(StreamEndedError())
        except Exception as error:  # noqa: BLE001 - the step that waits for an answer gets it
            self._inbox.put(error)
