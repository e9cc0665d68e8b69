"""One interceptor around every call: trace, rate, drain, errors, metrics.

OpenTelemetry's interceptor for grpc.aio (opentelemetry-instrumentation-grpc) records aborts, uncaught exceptions and
expired deadlines as OK; this one knows how each call really ended.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from rankd.errors import UnavailableError
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import Authenticator
from rankd.transport.call import Call, CallGate, lenient_decoding
from rankd.transport.rate_limit import RateLimit

_OURS = "/rankd."
_END = object()
_UNKNOWN_METHOD = "_OTHER"
"""What the conventions call methods that are not here; their names are the caller's and without bound."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method of every service on a server."""

    def __init__(self, telemetry: Telemetry, rate: RateLimit, authenticator: Authenticator | None = None) -> None:
        """Take what is shared by all calls; without ``authenticator`` everybody is let in."""
        self._gate = CallGate(telemetry, rate, authenticator)
        self._wrapped: dict[int, tuple[grpc.RpcMethodHandler, grpc.RpcMethodHandler]] = {}

    @property
    def in_flight(self) -> int:
        """Calls of our own services under way."""
        return self._gate.in_flight

    def drain(self) -> None:
        """Refuse calls from now on; those under way go on, but streams of health and reflection end."""
        self._gate.drained.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Find the method's handler and wrap it in a ``Call``, once per handler."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._gate.telemetry.call(_UNKNOWN_METHOD, "UNIMPLEMENTED", 0.0, "UNIMPLEMENTED")
            return None
        # By handler and not by name: listeners share this interceptor, and what one of them serves (administration)
        # must not be found on another. A server keeps its handlers as long as it lives, so their ids are theirs.
        known = self._wrapped.get(id(handler))
        if known is None or known[0] is not handler:
            known = self._wrapped[id(handler)] = handler, self._wrap(handler, handler_call_details.method)
        return known[1]

    def _wrap(self, handler: grpc.RpcMethodHandler, method: str) -> grpc.RpcMethodHandler:
        name, ours = method.removeprefix("/"), method.startswith(_OURS)
        lenient = lenient_decoding(handler)
        if handler.unary_unary is not None:
            return lenient._replace(unary_unary=self._wrap_unary(handler.unary_unary, name, ours=ours))
        if handler.unary_stream is not None:
            if not inspect.isasyncgenfunction(handler.unary_stream):
                return lenient._replace(unary_stream=self._wrap_health_watch(handler.unary_stream, name))
            return lenient._replace(unary_stream=self._wrap_unary_stream(handler.unary_stream, name))
        if handler.stream_stream is not None:
            return lenient._replace(stream_stream=self._wrap_stream(handler.stream_stream, name, ours=ours))
        return handler

    def _wrap_unary(self, inner: Any, name: str, *, ours: bool) -> Any:
        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
            holder = [request]
            del request
            async with Call(self._gate, name, context, ours=ours, holder=holder) as call:
                call.check(holder[0])
                return await _maybe_await(inner(holder.pop(), context))

        return unary

    def _wrap_unary_stream(self, inner: Any, name: str) -> Any:
        async def unary_stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            holder = [request]
            del request
            async with Call(self._gate, name, context, ours=True, holder=holder) as call:
                call.check(holder[0])
                async for response in inner(holder.pop(), context):
                    call.recheck()
                    yield response

        return unary_stream

    def _wrap_health_watch(self, inner: Any, name: str) -> Any:
        """Health's Watch, which writes to its context instead of yielding, and never ends by itself."""

        async def unary_stream(request: Any, context: grpc.aio.ServicerContext) -> None:
            holder = [request]
            del request
            async with Call(self._gate, name, context, ours=False, holder=holder) as call:
                call.check(holder[0])
                await self._until_drained(inner(holder.pop(), context))

        return unary_stream

    def _wrap_stream(self, inner: Any, name: str, *, ours: bool) -> Any:
        async def stream_stream(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with Call(self._gate, name, context, ours=ours) as call:
                # Our own streams end themselves when we drain (streams.py).
                messages = call.messages() if ours else call.checked(self._messages_until_drained(requests))
                async for response in inner(messages, context):
                    yield response

        return stream_stream

    async def _messages_until_drained(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        while (message := await self._until_drained(anext(requests, _END))) is not _END:
            yield message

    async def _until_drained(self, work: Awaitable[Any]) -> Any:
        """Wait for ``work``, unless a drain begins: an open stream would hold up ``stop`` for all of its grace."""
        doing, drained = asyncio.ensure_future(_awaited(work)), asyncio.ensure_future(self._gate.drained.wait())
        try:
            await asyncio.wait([doing, drained], return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        finally:
            doing.cancel()
            drained.cancel()


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


async def _maybe_await(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result
