"""A request's body on its way to the engine: whole where it is ranked, else as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from rankd.proxy.priority_body import insertion, is_open

Message = Any
Receive = Callable[[], Awaitable[Message]]


class ClientGoneError(Exception):
    """The client hung up."""


class Upload:
    """Reads a body once, message by message: ahead within a bound, then as the engine takes it.

    What the server has not read from the socket, TCP holds back: nothing is buffered without bound.
    """

    def __init__(self, receive: Receive, limit: int, *, empty: bool, room: Callable[[int], bool]) -> None:
        """Nothing came yet.

        Args:
            receive: ASGI's.
            limit: bytes of what is read ahead.
            empty: there is no body.
            room: whether there is memory for so many bytes read ahead.
        """
        self._receive, self._limit, self._room = receive, limit, room
        self._ahead: list[bytes] = []
        self.size = 0
        """Bytes that were read ahead."""
        self.finished = empty
        """All of it came."""
        self.gone = False
        """The client hung up within it."""
        self.crowded = False
        """There was no memory to read it ahead."""
        self.streaming = False
        """It goes to the engine as it comes, and has not come to its end."""

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            self.gone = True
            raise ClientGoneError
        if not message.get("more_body", False):
            self.finished = True
        return bytes(message.get("body", b""))

    async def whole(self) -> bytes | None:
        """All of it; None where it is longer than the bound, or than there is room for, and goes on from ``chunks``.

        Raises:
            ClientGoneError: it did not come to its end.
        """
        while not self.finished and self.size <= self._limit and not self.crowded:
            self._take(await self._next())
            self.crowded = not self._room(self.size)
        if self.size > self._limit or self.crowded:
            return None
        whole = b"".join(self._ahead)
        self._ahead.clear()
        return whole

    def _take(self, chunk: bytes) -> None:
        self._ahead.append(chunk)
        self.size += len(chunk)

    async def insert(self, priority: int) -> int:
        """Put a priority into the head of what ``chunks`` will give.

        Returns:
            By how many bytes it grew; 0 where it is no JSON object.

        Raises:
            ClientGoneError: its head did not come.
        """
        head = b"".join(self._ahead)
        while is_open(head) and not self.finished:
            head += await self._next()
        place = insertion(head, priority)
        self._ahead = [head] if place is None else [head[: place[0]], place[1], head[place[0] :]]
        return 0 if place is None else len(place[1])

    async def begin(self) -> None:
        """Wait for the first of it: only then is a connection to the engine taken, and written to at once.

        Raises:
            ClientGoneError: nothing came.
        """
        self.streaming = True
        if not self._ahead and not self.finished:
            self._take(await self._next())

    async def chunks(self) -> AsyncIterator[bytes]:
        """What was read ahead, and then what comes.

        Raises:
            ClientGoneError: it did not come to its end.
        """
        while self._ahead:
            if chunk := self._ahead.pop(0):
                yield chunk
        while not self.finished:
            if chunk := await self._next():
                yield chunk
        self.streaming = False
