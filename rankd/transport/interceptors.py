"""One interceptor around every call: trace, rate, drain, errors, metrics.

OpenTelemetry's contrib interceptor records aborts, uncaught exceptions and expired deadlines as OK (protocol.md,
trap 6); this one knows how each call really ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import grpc
import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rankd.errors import FieldViolation, InvalidRequestError, QuotaError, UnavailableError
from rankd.privacy import describe_error
from rankd.telemetry import Telemetry
from rankd.transport.codec import MALFORMED, tolerant
from rankd.transport.errors import Failure, bug, failure_of
from rankd.transport.ratelimit import RateLimit

_log = structlog.get_logger("rankd")
_propagator = TraceContextTextMapPropagator()
_TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
_OURS = "/rankd."
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Statuses that make a server span an error, by the RPC semantic conventions."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method of every service on a server."""

    def __init__(self, telemetry: Telemetry, rate: RateLimit) -> None:
        """Take what is shared by all calls."""
        self.telemetry = telemetry
        self.rate = rate
        self.draining = False
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self.in_flight = 0

    def drain(self) -> None:
        """Refuse calls from now on; those under way go on."""
        self.draining = True

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Find the method's handler and wrap it, once per method."""
        method: str = handler_call_details.method
        wrapped = self._handlers.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return handler
            wrapped = self._handlers[method] = self._wrap(tolerant(handler), method)
        return wrapped

    def _wrap(self, handler: grpc.RpcMethodHandler, method: str) -> grpc.RpcMethodHandler:
        name, ours = method.removeprefix("/"), method.startswith(_OURS)
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=self._unary(handler.unary_unary, name, refusable=ours))
        # Streams of health and reflection are left alone: they write to their context instead of yielding.
        if ours and handler.unary_stream is not None:
            return handler._replace(unary_stream=self._answering(handler.unary_stream, name))
        if ours and handler.stream_stream is not None:
            return handler._replace(stream_stream=self._conversing(handler.stream_stream, name))
        return handler

    def _unary(self, inner: Any, name: str, *, refusable: bool) -> Any:
        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with _Call(self, name, context, refusable=refusable) as call:
                call.check(request)
                return await _maybe_await(inner(request, context))

        return unary

    def _answering(self, inner: Any, name: str) -> Any:
        async def unary_stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with _Call(self, name, context, refusable=True) as call:
                call.check(request)
                async for response in inner(request, context):
                    yield response

        return unary_stream

    def _conversing(self, inner: Any, name: str) -> Any:
        async def stream_stream(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with _Call(self, name, context, refusable=True) as call:
                async for response in inner(call.checked(requests), context):
                    yield response

        return stream_stream


async def _maybe_await(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


class _Call:
    """One call from its first byte to its status; an asynchronous context manager around the handler."""

    __slots__ = ("_began", "_context", "_name", "_owner", "_refusable", "_span", "_token")

    def __init__(
        self, owner: CallInterceptor, name: str, context: grpc.aio.ServicerContext, *, refusable: bool
    ) -> None:
        self._owner = owner
        self._name = name
        self._context = context
        self._refusable = refusable

    async def __aenter__(self) -> Self:
        owner = self._owner
        self._began = time.perf_counter()
        parent = _propagator.extract(
            {k: v for k, v in self._context.invocation_metadata() or () if k in _TRACE_HEADERS}
        )
        if owner.telemetry.recording:
            self._span = owner.telemetry.tracer.start_span(
                self._name,
                parent,
                kind=trace.SpanKind.SERVER,
                attributes={"rpc.system.name": "grpc", "rpc.method": self._name},
            )
            self._token = otel_context.attach(trace.set_span_in_context(self._span, parent))
        else:
            # Nothing is recorded, but logs carry the caller's trace id.
            self._span = trace.get_current_span(parent)
            self._token = otel_context.attach(parent)
        owner.in_flight += 1
        try:
            if self._refusable:
                self._admit()
        except Exception as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    def _admit(self) -> None:
        if self._owner.draining:
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        wait = self._owner.rate.take(_caller(self._context), time.monotonic())
        if wait > 0:
            self._owner.telemetry.rate_limited()
            raise QuotaError("the caller is beyond limits.calls_per_second", retry_after=wait)

    def check(self, request: Any) -> None:
        """Refuse a request that could not be decoded."""
        if request is MALFORMED:
            raise InvalidRequestError(
                [
                    FieldViolation(
                        "request", "is no valid protobuf message of this method's type (strings must be UTF-8)"
                    )
                ]
            )

    async def checked(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The messages of a stream, up to one that could not be decoded."""
        async for request in requests:
            self.check(request)
            yield request

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        status, failure = "OK", None
        if error is not None:
            status, failure = self._judge(error)
        self._end(status, error)
        if failure is not None:
            await self._context.abort(failure.code, failure.text, failure.trailers)
        return False

    def _judge(self, error: BaseException) -> tuple[str, Failure | None]:
        """The status that a call ends with, and what to tell the caller."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            remaining = self._context.time_remaining()
            return ("DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"), None
        if isinstance(error, grpc.aio.AbortError):
            code = self._context.code()
            return (code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"), None
        if not isinstance(error, Exception):
            return "INTERNAL", None
        failure = failure_of(error)
        if failure is None:
            _log.error("internal_error", method=self._name, **describe_error(error))
            failure = bug()
        return failure.code.name, failure

    def _end(self, status: str, error: BaseException | None) -> None:
        owner = self._owner
        owner.in_flight -= 1
        failed = status in _SERVER_FAULTS
        error_type = None
        if status != "OK":
            error_type = type(error).__name__ if status == "INTERNAL" else status
        owner.telemetry.call(self._name, status, time.perf_counter() - self._began, error_type)
        if owner.telemetry.recording:
            self._span.set_attribute("rpc.response.status_code", status)
            if error_type is not None:
                self._span.set_attribute("error.type", error_type)
            if failed:
                self._span.set_status(trace.StatusCode.ERROR)
            self._span.end()
        try:
            otel_context.detach(self._token)
        except ValueError:
            return  # a generator that is closed late is closed in another context; there is nothing to restore


def _caller(context: grpc.aio.ServicerContext) -> str:
    """Who calls: the identity of a client certificate, else the address without its port."""
    identities = context.peer_identities()
    if identities:
        return str(identities[0])
    peer: str = context.peer() or ""
    return peer.rpartition(":")[0]
