"""Work that is handed to a worker thread, one piece at a time for each subject."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

import structlog

from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K]):
    """Runs one kind of work in an executor, at most one piece at a time for each key.

    Belongs to the event loop's thread. Several may share an executor.
    """

    def __init__(self, executor: Executor, again: Callable[[K], object] | None = None) -> None:
        """Take the executor.

        Args:
            executor: runs the work; ``close`` shuts it down.
            again: called with a key after its work has ended, where more was asked for meanwhile. Usually it checks
                whether more is due, and starts it.
        """
        self._executor = executor
        self._call_again = again
        self._flights: dict[K, asyncio.Future[Any]] = {}
        self._asked: set[K] = set()
        self._closed = False

    def flight(self, key: K) -> asyncio.Future[Any] | None:
        """The work in flight for a key; None where there is none."""
        return self._flights.get(key)

    def ask_again(self, key: K) -> bool:
        """Whether work is in flight for a key. If so, ``again`` is called once it has ended."""
        if key not in self._flights:
            return False
        self._asked.add(key)
        return True

    def start(
        self, key: K, prepare: Callable[[], Callable[[], T]], take: Callable[[T], None]
    ) -> asyncio.Future[T] | None:
        """Start work, unless some is in flight for the key: then ask again.

        Args:
            key: whose work it is.
            prepare: copies what the work needs and returns the work. It is called here and now, and only where the
                work starts.
            take: gets the result, on the event loop's thread. It is not called where the work fails or is cancelled.

        Returns:
            What is in flight for the key now; None after ``close``.
        """
        if self._closed:
            return None
        if self.ask_again(key):
            return self._flights[key]
        future = asyncio.get_running_loop().run_in_executor(self._executor, prepare())
        self._flights[key] = future
        future.add_done_callback(lambda result: self._landed(key, result, take))
        return future

    def _landed(self, key: K, result: asyncio.Future[T], take: Callable[[T], None]) -> None:
        del self._flights[key]
        asked = key in self._asked
        self._asked.discard(key)
        if result.cancelled():
            return  # as when the daemon stops
        if (error := result.exception()) is not None:
            _log.error("internal_error", **describe_error(error))
        else:
            take(result.result())
        if asked and self._call_again is not None:
            self._call_again(key)

    def close(self) -> None:
        """Start nothing any more, and cancel what waits for the thread; what runs there ends by itself."""
        self._closed = True
        self._call_again = None
        self._executor.shutdown(wait=False, cancel_futures=True)
