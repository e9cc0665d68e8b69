"""What the client with threads does otherwise than the asyncio one; ``_async_io`` has the same names."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from rankd_client._failures import CLOSED, NO_ANSWER, NotConnectedError, StreamEndedError
from rankd_client._forks import follow_forks
from rankd_client._token import Metadata

__all__ = ["FAILURES", "GRPC", "NO_ANSWER", "Connections", "Duplex", "Turns", "raise_if_cancelled", "results", "start"]

GRPC = grpc
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


class Turns:
    """One thread after the other. In a forked child it is nobody's turn."""

    def __init__(self) -> None:
        """It is nobody's turn."""
        self._lock = threading.Lock()
        follow_forks(self)

    def forked(self) -> None:
        """Whoever's turn it was is not in this process."""
        self._lock = threading.Lock()

    def turn(self) -> threading.Lock:
        """To be entered, and left at its end."""
        return self._lock


class Connections:
    """The connection of this process, opened by its first call: a process may be forked before that."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """Open nothing yet; what ``connect`` opens has its ``channels``."""
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Any = None
        self._inherited: list[Any] = []
        self._closed = False
        follow_forks(self)

    def forked(self) -> None:
        """The parent's connection is left alone: gRPC would wait for its threads even where it is let go of."""
        self._lock = threading.Lock()
        self._inherited.append(self._connection)
        self._connection = None

    def here(self) -> Any:
        """The connection to ask over.

        Raises:
            NotConnectedError: it was closed, or gRPC does not work in this process.
        """
        return self._connection or self._opened()

    def _opened(self) -> Any:
        with self._lock:
            if self._closed:
                raise NotConnectedError(*CLOSED)
            if self._connection is None:
                self._connection = self._connect()
            return self._connection

    def close(self) -> None:
        """Close it for good."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        for channel in connection.channels if connection is not None else ():
            channel.close()


class Duplex:
    """A stream to the daemon and back, open until it is cancelled or fails."""

    def __init__(self, rpc: Callable[..., Any], metadata: Metadata) -> None:
        """Open it."""
        self.metadata = metadata
        self._process = os.getpid()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = rpc(iter(self._outbox.get, None), metadata=metadata)
        threading.Thread(target=self._read, name="rankd-stream", daemon=True).start()

    def is_here(self) -> bool:
        """Whether it can be used: a forked child has the parent's, and not the thread that reads it."""
        return self._process == os.getpid()

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
        if not self.is_here():
            return
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
