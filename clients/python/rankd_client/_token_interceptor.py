"""Shows a token with every call of a channel, for clients whose calls are no matter of microseconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc

from rankd_client._token import Token


class _Details(NamedTuple):
    """A call's details, with more metadata."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class TokenInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Shows a token with every call."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Add it to a unary call."""
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Add it to a call with many answers."""
        return continuation(self._with_token(client_call_details), request)

    def _with_token(self, details: Any) -> _Details:
        metadata = (*(details.metadata or ()), *self._token.metadata())
        return _Details(
            details.method,
            details.timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
