"""Work that is handed to a worker thread, one piece at a time for each subject."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, TypeVar

import structlog

from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
T = TypeVar("T")


class SingleFlight:
    """Runs work in an executor, at most one piece at a time for each key. Belongs to the event loop's thread."""

    def __init__(self, executor: Executor) -> None:
        """Take the executor; ``close`` shuts it down."""
        self._executor = executor
        self._flights: dict[Hashable, asyncio.Future[Any]] = {}
        self._again: dict[Hashable, Callable[[], object]] = {}
        self._closed = False

    def flight(self, key: Hashable) -> asyncio.Future[Any] | None:
        """The work in flight for a key; None where there is none."""
        return self._flights.get(key)

    def start(
        self,
        key: Hashable,
        prepare: Callable[[], Callable[[], T]],
        take: Callable[[T], None],
        again: Callable[[], object] | None = None,
    ) -> asyncio.Future[T] | None:
        """Start work, unless some is in flight for the key.

        Args:
            key: what there may be one piece of work at a time for.
            prepare: copies what the work needs and returns the work. It is called here and now, and only where the
                work starts.
            take: gets the result, on the event loop's thread. It is not called where the work fails or is cancelled.
            again: called once after the work in flight has ended, where this call came meanwhile. Usually it checks
                whether more work is due, and starts it.

        Returns:
            What is in flight for the key now; None after ``close``.
        """
        if self._closed:
            return None
        if (flight := self._flights.get(key)) is not None:
            if again is not None:
                self._again[key] = again
            return flight
        future = asyncio.get_running_loop().run_in_executor(self._executor, prepare())
        self._flights[key] = future
        future.add_done_callback(lambda result: self._landed(key, result, take))
        return future

    def _landed(self, key: Hashable, result: asyncio.Future[T], take: Callable[[T], None]) -> None:
        del self._flights[key]
        again = self._again.pop(key, None)
        if result.cancelled():
            return  # as when the daemon stops
        if (error := result.exception()) is not None:
            _log.error("internal_error", **describe_error(error))
        else:
            take(result.result())
        if again is not None:
            again()

    def close(self) -> None:
        """Start nothing any more, and cancel what waits for the thread; what runs there ends by itself."""
        self._closed = True
        self._again.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
