"""Answers of the proxy's own, in the shape that clients of OpenAI's API read. No I/O."""

from __future__ import annotations

import json


class RefusalError(Exception):
    """A request that cannot be passed on; ``outcome`` is what is counted."""

    def __init__(self, status: int, outcome: str, message: str) -> None:
        """``message`` tells a person what to look at; nothing that a client sent is in it."""
        super().__init__(message)
        self.status, self.outcome, self.message = status, outcome, message

    @property
    def body(self) -> bytes:
        """As JSON."""
        error = {"message": self.message, "type": "rankd_proxy_error", "param": None, "code": self.outcome}
        return json.dumps({"error": error}).encode()

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Header fields that go with it."""
        return [(b"content-type", b"application/json"), (b"content-length", str(len(self.body)).encode())]
