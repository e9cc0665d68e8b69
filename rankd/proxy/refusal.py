"""Answers of the proxy's own, in the shape that clients of OpenAI's API read. No I/O."""

from __future__ import annotations

import json
from http import HTTPStatus


class RefusalError(Exception):
    """A request that cannot be passed on; ``outcome`` is what is counted."""

    def __init__(self, status: int, outcome: str, message: str, *, retry_after: int | None = None) -> None:
        """``message`` tells a person what to look at; nothing that a client sent is in it. ``retry_after`` in s."""
        super().__init__(message)
        self.status, self.outcome, self.message, self.retry_after = status, outcome, message, retry_after

    @property
    def phrase(self) -> bytes:
        """Of the status."""
        return HTTPStatus(self.status).phrase.encode()

    @property
    def body(self) -> bytes:
        """As JSON."""
        error = {"message": self.message, "type": "rankd_proxy_error", "param": None, "code": self.outcome}
        return json.dumps({"error": error}).encode()

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Header fields that go with it."""
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(self.body)).encode())]
        return fields if self.retry_after is None else [*fields, (b"retry-after", b"%d" % self.retry_after)]
