"""Open streams: a bounded number of them, ended by the daemon itself when it drains.

``server.stop(grace)`` waits for open server streams, and for those that never end by themselves all of the grace.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rankd.errors import QuotaError, UnavailableError
from rankd.settings import LimitsSection

T = TypeVar("T")


class StreamKind(enum.Enum):
    """Kinds of streams. Each has places of its own: many of one kind keep nobody from opening another."""

    RANK = "limits.max_streams"
    WATCH = "limits.max_watches"
    JUDGE = "limits.max_watches, which comparisons of rankers are bounded by too,"


class Streams:
    """Counts open streams and tells them when to end."""

    def __init__(self, limits: LimitsSection) -> None:
        """Take how many there may be."""
        self._most = {
            StreamKind.RANK: limits.max_streams,
            StreamKind.WATCH: limits.max_watches,
            StreamKind.JUDGE: limits.max_watches,
        }
        self._most_each = limits.max_streams_per_caller
        self._open: Counter[StreamKind] = Counter()
        self._callers: Counter[tuple[StreamKind, str]] = Counter()
        self._draining = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the daemon shuts down."""
        return self._draining.is_set()

    @contextmanager
    def opened(self, kind: StreamKind, caller: str) -> Iterator[None]:
        """Hold a place while a stream is open.

        Raises:
            QuotaError: there are too many, or too many of this caller.
            UnavailableError: the daemon drains.
        """
        if self._draining.is_set():
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        if self._open[kind] >= self._most[kind]:
            raise QuotaError(f"{kind.value} = {self._most[kind]} are open", retry_after=1.0)
        if self._callers[kind, caller] >= self._most_each:
            raise QuotaError(
                f"limits.max_streams_per_caller = {self._most_each} of this caller are open", retry_after=1.0
            )
        self._open[kind] += 1
        self._callers[kind, caller] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1
            self._callers[kind, caller] -= 1
            if not self._callers[kind, caller]:
                del self._callers[kind, caller]  # callers come and go

    async def next(self, messages: AsyncIterator[T]) -> T | None:
        """The stream's next message; None at its end.

        Raises:
            UnavailableError: the daemon began to drain meanwhile.
        """
        message: asyncio.Future[Any] = asyncio.ensure_future(_next(messages))
        drain: asyncio.Future[Any] = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait([message, drain], return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                received: T | None = message.result()
                return received
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        finally:
            drain.cancel()
            message.cancel()

    async def pause(self, waiting: asyncio.Future[bool]) -> None:
        """Wait for something on behalf of a stream.

        Raises:
            UnavailableError: the daemon began to drain meanwhile.
        """
        drain: asyncio.Future[Any] = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({waiting, drain}, return_when=asyncio.FIRST_COMPLETED)
            if self._draining.is_set():
                raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        finally:
            drain.cancel()
            waiting.cancel()

    def drain(self) -> None:
        """End all streams, now and later."""
        self._draining.set()


async def _next(messages: AsyncIterator[T]) -> T | None:
    return await anext(messages, None)
