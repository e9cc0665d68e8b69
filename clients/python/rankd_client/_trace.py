"""A client span around a call, where OpenTelemetry is installed; nothing, at no cost, where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import propagate, trace
except ImportError:
    trace = None  # type: ignore[assignment]

from rankd_client._token import Metadata, Token


@contextmanager
def client_span(method: str, token: Token) -> Iterator[Metadata]:
    """Give the metadata that carries trace and token to the daemon. No id, no prompt and no token is recorded."""
    if trace is None:
        yield token.metadata()
        return
    tracer = trace.get_tracer("rankd_client")
    attributes = {"rpc.system.name": "grpc", "rpc.method": method}
    with tracer.start_as_current_span(method, kind=trace.SpanKind.CLIENT, attributes=attributes):
        carrier: dict[str, Any] = {}
        propagate.inject(carrier)
        yield (*((k.lower(), str(v)) for k, v in carrier.items()), *token.metadata())
