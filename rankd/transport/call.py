"""One call: that its request could be decoded, its span, its duration and its status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc
import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rankd.auth import Caller
from rankd.errors import FieldViolation, InvalidRequestError, QuotaError, UnavailableError
from rankd.telemetry.redaction import describe_error
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import Authenticator, set_current_caller
from rankd.transport.grpc_status import Failure, bug, failure_of, not_implemented
from rankd.transport.rate_limit import RateLimit, caller_of

_log = structlog.get_logger("rankd")
_propagator = TraceContextTextMapPropagator()
_TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
_HEALTH = "grpc.health."
"""Health answers anybody: probes have no credential."""
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Statuses that make a server span an error, by the RPC semantic conventions."""
_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class CallGate:
    """What every call to the daemon passes: metrics, rate limit, credentials, and whether it drains."""

    def __init__(self, telemetry: Telemetry, rate: RateLimit, authenticator: Authenticator | None) -> None:
        """Take what is shared by all calls; without ``authenticator`` everybody is let in."""
        self.telemetry = telemetry
        self.rate = rate
        self.authenticator = authenticator
        self.drained = asyncio.Event()
        self.in_flight = 0
        """Calls of our own services under way; health and reflection are no work to wait for."""

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return self.drained.is_set()


class Call:
    """One call from its first byte to its status; an asynchronous context manager around the handler."""

    __slots__ = ("_began", "_caller", "_context", "_gate", "_holder", "_name", "_ours", "_span")

    def __init__(
        self,
        gate: CallGate,
        name: str,
        context: grpc.aio.ServicerContext,
        *,
        ours: bool,
        holder: list[Any] | None = None,
    ) -> None:
        """Begin nothing yet; ``holder`` is a list of the request alone, which the handler takes out of it."""
        self._gate = gate
        self._name = name
        self._context = context
        self._ours = ours
        self._holder = holder
        self._caller: Caller | None = None

    async def __aenter__(self) -> Self:
        gate = self._gate
        self._began = time.perf_counter()
        parent = _propagator.extract(
            {k: v for k, v in self._context.invocation_metadata() or () if k in _TRACE_HEADERS}
        )
        if gate.telemetry.recording:
            self._span = gate.telemetry.tracer.start_span(
                self._name,
                parent,
                kind=trace.SpanKind.SERVER,
                attributes={"rpc.system.name": "grpc", "rpc.method": self._name},
            )
            otel_context.attach(trace.set_span_in_context(self._span, parent))
        else:
            # Nothing is recorded, but logs carry the caller's trace id.
            self._span = trace.get_current_span(parent)
            otel_context.attach(parent)
        # Never detached: a call has a task, and so a context, of its own, and a stream that its caller cancelled is
        # closed in another one, where OpenTelemetry would log a failure.
        gate.in_flight += self._ours
        try:
            self._admit()
        except Exception as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    def _admit(self) -> None:
        if self._name.startswith(_HEALTH):
            return
        if self._ours and self._gate.draining:
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        authenticator = self._gate.authenticator
        if authenticator is None:
            self._caller = Caller(caller_of(self._context))
        else:
            self._caller = authenticator.admit(self._name.rpartition("/")[0], self._context)
        set_current_caller(self._caller)
        if self._ours:
            self._count()

    def _count(self) -> None:
        """Count a call, or a further message of a stream, for its caller."""
        assert self._caller is not None
        wait = self._gate.rate.take_of(self._caller, time.monotonic())
        if wait > 0:
            self._gate.telemetry.rate_limited()
            raise QuotaError(
                "the caller is beyond limits.calls_per_second, or its credential or tenant beyond that of auth.file",
                retry_after=wait,
            )

    def recheck(self) -> None:
        """Refuse to go on with a stream whose credential was taken back, or is over."""
        if self._caller is not None and self._gate.authenticator is not None:
            self._gate.authenticator.recheck(self._caller)

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

    async def messages(self) -> AsyncIterator[Any]:
        """The messages of a stream of ours, up to one that could not be decoded or is one too many.

        Read one by one: grpc's own iterator keeps a message, which may be large, until the next one comes.
        """
        counted = True  # the first one, as the call
        while True:
            read = [await self._context.read()]
            if read[0] is grpc.aio.EOF:
                return
            self.check(read[0])
            if not counted:
                self.recheck()
                self._count()
            counted = False
            yield read.pop()

    async def checked(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The messages of a stream, up to one that could not be decoded."""
        async for request in requests:
            self.check(request)
            yield request

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if error is None:
            status, failure = _name_of(self._context.code()) or "OK", None
        else:
            status, failure = self._status_of(error)
        self._end(status, error)
        if error is not None:
            # grpc keeps an abort's exception with its frames in a cycle of references, which the collector finds late:
            # what was sent, which may be large, must not be in any of them.
            error.__traceback__ = None
            if self._holder:
                self._holder.clear()
        if failure is not None:
            await self._context.abort(failure.code, failure.text, failure.trailers)
        return False

    def _status_of(self, error: BaseException) -> tuple[str, Failure | None]:
        """The status that a call ends with, and what to tell the caller."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            remaining = self._context.time_remaining()
            # The caller's own clock may end the call a little before ours would: its deadline travels rounded up, by
            # up to a hundredth.
            late = remaining is not None and remaining <= 0.005 + 0.01 * (time.perf_counter() - self._began)
            return ("DEADLINE_EXCEEDED" if late else "CANCELLED"), None
        if isinstance(error, NotImplementedError) and self._context.code() is grpc.StatusCode.UNIMPLEMENTED:
            return "UNIMPLEMENTED", not_implemented()  # a generated servicer's method that ours does not override
        if isinstance(error, grpc.aio.AbortError):
            return _name_of(self._context.code()) or "UNKNOWN", None
        if not isinstance(error, Exception):
            return "INTERNAL", None
        failure = failure_of(error)
        if failure is None:
            _log.error("internal_error", method=self._name, **describe_error(error))
            failure = bug()
        return failure.code.name, failure

    def _end(self, status: str, error: BaseException | None) -> None:
        gate = self._gate
        gate.in_flight -= self._ours
        # What the caller did wrong, or chose, is no error of a server.
        failed = status in _SERVER_FAULTS
        error_type = None
        if failed:
            error_type = type(error).__name__ if status == "INTERNAL" and error is not None else status
        gate.telemetry.call(self._name, status, time.perf_counter() - self._began, error_type)
        if gate.telemetry.recording:
            self._span.set_attribute("rpc.response.status_code", status)
            if error_type is not None:
                self._span.set_attribute("error.type", error_type)
            if failed:
                self._span.set_status(trace.StatusCode.ERROR)
            self._span.end()


def _name_of(code: Any) -> str | None:
    """A status by its name; None where none was set. Servicers may set numbers."""
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return _STATUS_NAMES.get(code)


class Malformed:
    """Stands for a request that could not be decoded."""


MALFORMED = Malformed()


def lenient_decoding(handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    """A method handler whose deserialiser gives MALFORMED where it would raise: the call is counted and answered."""
    decode = handler.request_deserializer
    if decode is None:
        return handler
    return handler._replace(request_deserializer=_never_raising(decode))


def _never_raising(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def deserialise(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception:  # noqa: BLE001 - protobuf's own choice of exceptions differs by implementation
            return MALFORMED

    return deserialise
