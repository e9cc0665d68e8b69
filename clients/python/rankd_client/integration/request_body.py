"""A request's body, read ahead within a bound and passed on as it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class RequestBody:
    """Reads messages of an ASGI ``receive`` and gives the same messages again.

    ``content`` is the body once ``read`` says that it is whole.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        """Read nothing yet; ``limit`` in bytes."""
        self._receive, self._limit = receive, limit
        self._messages: deque[Message] = deque()
        self.content = b""

    async def read(self) -> bool:
        """Whether all of it came and is within the bound; what was read is kept either way."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            self._messages.append(message)
            if message["type"] != "http.request":
                return False  # the client went away
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                return False
            chunks.append(chunk)
            if not message.get("more_body", False):
                self.content = b"".join(chunks)
                return True

    async def receive(self) -> Message:
        """What was read, message by message, and then what comes."""
        return self._messages.popleft() if self._messages else await self._receive()
