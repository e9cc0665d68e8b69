"""What can go wrong between client and daemon, in words."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

_LONGEST_TEXT = 300
_TELLING = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""Codes whose text is kept. Under others a server may repeat an exception's text, and with it a prompt."""


CLOSED = ("error:CANCELLED", "the client was closed")
"""Reason and text."""


class BadAnswerError(Exception):
    """An answer that cannot be read, or does not hold every request exactly once."""

    reason = "bad_answer"


class StreamEndedError(Exception):
    """The daemon ended a stream without an error."""


class NotConnectedError(Exception):
    """There is nothing to ask over; ``reason`` as in :class:`rankd_client.RankedQueue`."""

    def __init__(self, reason: str, text: str) -> None:
        """Say why."""
        super().__init__(text)
        self.reason = reason


NO_ANSWER = (grpc.RpcError, grpc.aio.UsageError, BadAnswerError, NotConnectedError, ValueError)
"""What a question without fallback fails with: the call, a closed channel, an answer that makes no sense."""


def readable(answer: Any) -> Any:
    """An answer as it is; grpc's asyncio side gives None for bytes that are no message.

    Raises:
        BadAnswerError: it is none.
    """
    if answer is None:
        raise BadAnswerError("the daemon's answer is no message of this protocol")
    return answer


def explain(error: BaseException) -> tuple[str, str]:
    """A failure as (reason, text)."""
    if isinstance(error, BadAnswerError | NotConnectedError):
        return error.reason, str(error)
    if isinstance(error, StreamEndedError):
        return "unavailable", "the daemon ended the stream"
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    if isinstance(error, asyncio.CancelledError | grpc.FutureCancelledError):
        return CLOSED
    if isinstance(error, TimeoutError | grpc.FutureTimeoutError) or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "timeout", "no answer within the deadline"
    if isinstance(code, grpc.StatusCode):
        details = getattr(error, "details", None) if code in _TELLING else None
        text = (details() or "").splitlines()[:1] if details is not None else []
        reason = "unavailable" if code is grpc.StatusCode.UNAVAILABLE else f"error:{code.name}"
        return reason, text[0][:_LONGEST_TEXT] if text else code.name
    return f"error:{type(error).__name__}", type(error).__name__
