"""One wrapper around every call: trace, rate, drain, errors, metrics.

OpenTelemetry's interceptor for grpc.aio (opentelemetry-instrumentation-grpc) records aborts, uncaught exceptions and
expired deadlines as OK; this one knows how each call really ended.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc

from rankd.errors import UnavailableError
from rankd.settings import LimitsSection
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import Authenticator
from rankd.transport.call import Call
from rankd.transport.call_gate import CallGate, Method
from rankd.transport.decoding import RequestDecoder
from rankd.transport.memory_budget import MemoryBudget
from rankd.transport.rate_limit import RateLimit
from rankd.transport.time_slices import TimeSlices

_OURS = "/rankd."
_END = object()
_UNKNOWN_METHOD = "_OTHER"
"""What the conventions call methods that are not here; their names are the caller's and without bound."""


class CallInterceptor:
    """Wraps every method of every service; listeners share it, and each wraps what it serves alone."""

    def __init__(
        self,
        telemetry: Telemetry,
        rate: RateLimit,
        authenticator: Authenticator | None = None,
        limits: LimitsSection | None = None,
        time_slices: TimeSlices | None = None,
    ) -> None:
        """Take what is shared by all calls; without ``authenticator`` everybody is let in."""
        self._limits = limits or LimitsSection()
        self._time_slices = time_slices or TimeSlices()
        self._gate = CallGate(telemetry, rate, authenticator, self._limits)

    @property
    def in_flight(self) -> int:
        """Calls of our own services under way."""
        return self._gate.in_flight

    @property
    def memory(self) -> MemoryBudget:
        """What all calls in flight hold."""
        return self._gate.memory

    def serve(self, port: int) -> None:
        """Know a port whose calls come here: connections to it may be counted, and cut."""
        self._gate.watch.connections.ports.add(port)

    def drain(self) -> None:
        """Refuse calls from now on; those under way go on, but streams of health and reflection end."""
        self._gate.drained.set()
        self._gate.watch.drain()

    def count_unknown(self) -> None:
        """Count a call of a method that is not served."""
        self._gate.telemetry.call(_UNKNOWN_METHOD, "UNIMPLEMENTED", 0.0, "UNIMPLEMENTED")

    def wrap(self, handler: grpc.RpcMethodHandler, name: str) -> grpc.RpcMethodHandler:
        """A handler that gets bytes, and reads them itself: grpc would before we know who calls."""
        decode = handler.request_deserializer
        most, slices = self._limits.max_items, self._time_slices
        decoder = None if decode is None else RequestDecoder(decode, most, slices)
        method = Method(name.removeprefix("/"), name.startswith(_OURS), decoder, handler.response_serializer)
        raw = handler._replace(
            request_streaming=True,
            request_deserializer=None,
            response_serializer=None,
            unary_unary=None,
            unary_stream=None,
            stream_stream=None,
        )
        if handler.unary_unary is not None:
            return raw._replace(stream_unary=self._wrap_unary(handler.unary_unary, method))
        if handler.unary_stream is not None:
            if not inspect.isasyncgenfunction(handler.unary_stream):
                raw = raw._replace(response_serializer=handler.response_serializer)  # it writes by itself
                return raw._replace(stream_stream=self._wrap_health_watch(handler.unary_stream, method))
            return raw._replace(stream_stream=self._wrap_unary_stream(handler.unary_stream, method))
        if handler.stream_stream is not None:
            return raw._replace(stream_stream=self._wrap_stream(handler.stream_stream, method))
        raise TypeError(f"{method.name}: methods with a stream of requests and one response are not supported")

    def _wrap_unary(self, inner: Any, method: Method) -> Any:
        async def unary(_: object, context: grpc.aio.ServicerContext) -> bytes:
            async with Call(self._gate, method, context) as call:
                return call.encode(await inner(await call.receive(), context))

        async def sync_unary(_: object, context: grpc.aio.ServicerContext) -> bytes:
            async with Call(self._gate, method, context) as call:
                return call.encode(inner(await call.receive(), context))

        return unary if inspect.iscoroutinefunction(inner) else sync_unary

    def _wrap_unary_stream(self, inner: Any, method: Method) -> Any:
        async def unary_stream(_: object, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async with Call(self._gate, method, context) as call:
                async for response in inner(await call.receive(), context):
                    call.recheck()
                    yield call.encode(response)
                    call.sent()

        return unary_stream

    def _wrap_health_watch(self, inner: Any, method: Method) -> Any:
        """Health's Watch, which writes to its context instead of yielding, and never ends by itself."""

        async def unary_stream(_: object, context: grpc.aio.ServicerContext) -> None:
            async with Call(self._gate, method, context) as call:
                await self._until_drained(inner(await call.receive(), context))

        return unary_stream

    def _wrap_stream(self, inner: Any, method: Method) -> Any:
        async def stream_stream(_: object, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async with Call(self._gate, method, context) as call:
                messages = call.messages()
                if not method.ours:  # our own streams end themselves when we drain (streams.py)
                    messages = self._messages_until_drained(messages)
                async for response in inner(messages, context):
                    yield call.encode(response)
                    call.sent()

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
