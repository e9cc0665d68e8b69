"""Open streams: a bounded number of them, ended by the daemon itself when it drains.

An open server stream would hold ``server.stop(grace)`` for all of the grace (protocol.md, trap 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rankd.errors import QuotaError, UnavailableError

T = TypeVar("T")


class Streams:
    """Counts open streams and tells them when to end."""

    def __init__(self, most: int) -> None:
        """Allow ``most`` at a time."""
        self._most = most
        self._draining = asyncio.Event()
        self.open = 0

    @property
    def draining(self) -> bool:
        """Whether the daemon shuts down."""
        return self._draining.is_set()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold a place while a stream is open.

        Raises:
            QuotaError: there are too many.
            UnavailableError: the daemon drains.
        """
        if self._draining.is_set():
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        if self.open >= self._most:
            raise QuotaError(f"limits.max_streams = {self._most} are open", retry_after=1.0)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

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
