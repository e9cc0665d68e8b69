"""One call: who makes it, its request, the memory it holds, its span, its duration and its status."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Self

import grpc
import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rankd.auth import Caller
from rankd.errors import FieldViolation, InvalidRequestError, QuotaError, RankdError, UnavailableError
from rankd.telemetry.redaction import describe_error
from rankd.transport.authentication import set_current_caller
from rankd.transport.call_gate import CallGate, Method
from rankd.transport.connections import peer_name
from rankd.transport.grpc_status import Failure, bug, failure_of, not_implemented
from rankd.transport.memory_budget import CALL_BYTES, Reservation, message_cost
from rankd.transport.rate_limit import caller_of
from rankd.transport.time_slices import take_turns
from rankd.transport.wire_count import PIECE_BYTES

_log = structlog.get_logger("rankd")
_propagator = TraceContextTextMapPropagator()
_TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
_HEALTH = "grpc.health."
"""Health answers anybody: probes have no credential."""
_CANCELLED_WITHIN = 1.0
_LATE = 0.005
"""Seconds that are left of a deadline at which a call is cancelled for it."""
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Statuses that make a server span an error, by the RPC semantic conventions."""
_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Call:
    """One call from its first byte to its status; an asynchronous context manager around the handler.

    A request is read only here, after its caller was let in, and is bytes until it is known to be small enough.
    """

    __slots__ = (
        "_address",
        "_began",
        "_caller",
        "_context",
        "_ending",
        "_gate",
        "_hold",
        "_kept",
        "_method",
        "_span",
        "_task",
        "caller",
        "peer",
    )

    def __init__(self, gate: CallGate, method: Method, context: grpc.aio.ServicerContext) -> None:
        """Begin nothing yet."""
        self._gate = gate
        self._method = method
        self._context = context
        self._caller: Caller | None = None
        self._hold: Reservation | None = None
        self._ending: RankdError | None = None
        self._task: asyncio.Task[Any] | None = None
        self._address: str = context.peer() or ""
        self.peer = peer_name(self._address)
        self.caller = ""
        self._kept = CALL_BYTES
        """Bytes that the call holds between two messages."""

    async def __aenter__(self) -> Self:
        gate = self._gate
        self._began = time.perf_counter()
        headers = {k: v for k, v in self._context.invocation_metadata() or () if k in _TRACE_HEADERS}
        if gate.telemetry.recording:
            parent = _propagator.extract(headers)
            self._span = gate.telemetry.tracer.start_span(
                self._method.name,
                parent,
                kind=trace.SpanKind.SERVER,
                attributes={"rpc.system.name": "grpc", "rpc.method": self._method.name},
            )
            otel_context.attach(trace.set_span_in_context(self._span, parent))
        elif headers:
            # Nothing is recorded, but logs carry the caller's trace id.
            otel_context.attach(_propagator.extract(headers))
        # Never detached: a call has a task, and so a context, of its own, and a stream that its caller cancelled is
        # closed in another one, where OpenTelemetry would log a failure.
        gate.in_flight += self._method.ours
        try:
            self._admit()
        except Exception as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    def _admit(self) -> None:
        name = self._method.name
        if not name.startswith(_HEALTH):
            if self._method.ours and self._gate.draining:
                raise UnavailableError("the daemon is shutting down", retry_after=1.0)
            authenticator = self._gate.authenticator
            if authenticator is None:
                self._caller = Caller(caller_of(self._context))
            else:
                self._caller = authenticator.admit(name.rpartition("/")[0], self._context, self._address)
            set_current_caller(self._caller)
            take_turns(self._caller, self._address)
            if self._method.ours:
                self._count()
        self._take_place()

    def _take_place(self) -> None:
        """Hold what every call takes, until its answer was sent."""
        self.caller = self.peer.rpartition(":")[0] if self._caller is None else self._caller.key
        hold = self._gate.memory.hold(self.caller, self.peer)
        hold.resize(self._kept)
        self._hold = hold
        _current.set(self)
        self._task = asyncio.current_task()  # grpc's own, which ends when all was sent
        assert self._task is not None
        self._task.add_done_callback(self._done)

    def _done(self, _: object) -> None:
        assert self._hold is not None
        self._hold.release()
        self._gate.watch.sent(self)
        self._task = None  # whose context has this call: a cycle

    def end(self, error: RankdError) -> None:
        """End with an error, instead of going on to wait for the caller."""
        if self._ending is None and self._task is not None:
            self._ending = error
            self._task.cancel()

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

    def keep(self, size: int) -> None:
        """Hold ``size`` bytes for what a stream keeps between its messages.

        Raises:
            QuotaError: that is more than the caller's share of memory.
        """
        assert self._hold is not None
        self._hold.resize(self._hold.size - self._kept + CALL_BYTES + size)
        self._kept = CALL_BYTES + size

    async def receive(self) -> Any:
        """The one request of a call that has one.

        Raises:
            InvalidRequestError: it is no message of the method's type, has too many entries, or there is none.
            QuotaError: there is no memory for it.
        """
        holder = [await self._read_first(single=True)]
        if holder[0] is grpc.aio.EOF:
            raise InvalidRequestError([FieldViolation("request", "is missing: send one message")])
        return await self._decode(holder)

    async def _read_first(self, *, single: bool) -> Any:
        """The first message as bytes, or EOF."""
        try:
            first = await self._read(single=single)
            if first is grpc.aio.EOF:
                # Who cancels says so a moment later, which ends this; who does not, has sent nothing.
                await asyncio.sleep(_CANCELLED_WITHIN)
        except asyncio.CancelledError:
            if self._ending is None and self._time_left() > _LATE:
                self._gate.watch.taken_back(self)
            raise
        return first

    def _time_left(self) -> float:
        remaining: float | None = self._context.time_remaining()
        return math.inf if remaining is None else remaining

    async def _read(self, *, single: bool) -> Any:
        """The next message as bytes, or EOF."""
        watch = self._gate.watch
        watch.receiving(self, single=single)
        read = None
        try:
            read = await self._context.read()
        finally:
            watch.received(self, len(read) if isinstance(read, bytes) else 0)
        return read

    async def _decode(self, holder: list[bytes]) -> Any:
        """Decode what was read; ``holder`` is emptied, so that nothing keeps the bytes."""
        decoder = self._method.decoder
        if decoder is None:
            return holder.pop()
        size = len(holder[0])
        self._charge(size, 0, 0)
        if size <= PIECE_BYTES:
            return decoder.decode_small(holder, partial(self._charge, size))
        return await decoder.decode(holder, partial(self._charge, size))

    def _charge(self, size: int, entries: int, nested: int) -> None:
        """Hold what a request takes; what a call holds by itself is enough for most."""
        cost = message_cost(size, entries, nested)
        if cost > CALL_BYTES:
            assert self._hold is not None
            self._hold.resize(self._kept + cost)

    async def messages(self) -> AsyncIterator[Any]:
        """The messages of a stream, up to one that could not be decoded or is one too many.

        Read one by one: grpc's own iterator keeps a message, which may be large, until the next one comes.
        """
        holder = [await self._read_first(single=False)]
        while holder[0] is not grpc.aio.EOF:
            yield await self._decode(holder)
            holder = [await self._read(single=False)]
            if holder[0] is not grpc.aio.EOF:  # the first one was counted as the call
                self.recheck()
                if self._method.ours:
                    self._count()

    def encode(self, response: Any) -> bytes:
        """An answer as bytes; what the call holds from here on is the answer, until it was sent."""
        encode = self._method.encode
        data: bytes = response if encode is None else encode(response)
        self._fit(len(data))
        self._gate.watch.sending(self)
        return data

    def sent(self) -> None:
        """An answer of a stream was taken by the connection, and is held no longer."""
        self._gate.watch.sent(self)
        self._fit(0)

    def _fit(self, size: int) -> None:
        """Hold so much beside what is kept, which is enough for little."""
        hold, size = self._hold, size if size > CALL_BYTES else 0
        if hold is not None and hold.size != self._kept + size:
            hold.resize(self._kept + size)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        del trace  # its frames have the request
        if error is None:
            status, failure = _name_of(self._context.code()) or "OK", None
        else:
            status, failure = self._status_of(error)
        self._end(status, error)
        if error is not None:
            error.__traceback__ = None
        if failure is not None:
            await self._abort(failure)
        elif kind is asyncio.CancelledError and status == "CANCELLED":
            await self._gate.watch.keep_place(time.perf_counter() - self._began)

    async def _abort(self, failure: Failure) -> None:
        """End the call with a failure; raises what tells grpc so.

        grpc keeps that exception, and so the frames that it passed, in a cycle of references with the call's context:
        without its traceback there is none.
        """
        try:
            await self._context.abort(failure.code, failure.text, failure.trailers)
        except BaseException as aborted:
            task = asyncio.current_task()
            assert task is not None
            task.add_done_callback(partial(_forget_frames, aborted))
            raise

    def _status_of(self, error: BaseException) -> tuple[str, Failure | None]:
        """The status that a call ends with, and what to tell the caller."""
        if self._ending is not None and self._task is not None and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            error = self._ending
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            remaining = self._context.time_remaining()
            # The caller's own clock may end the call a little before ours would: its deadline travels rounded up, by
            # up to a hundredth.
            late = remaining is not None and remaining <= _LATE + 0.01 * (time.perf_counter() - self._began)
            return ("DEADLINE_EXCEEDED" if late else "CANCELLED"), None
        if isinstance(error, NotImplementedError) and self._context.code() is grpc.StatusCode.UNIMPLEMENTED:
            return "UNIMPLEMENTED", not_implemented()  # a generated servicer's method that ours does not override
        if isinstance(error, grpc.aio.AbortError):
            return _name_of(self._context.code()) or "UNKNOWN", None
        if not isinstance(error, Exception):
            return "INTERNAL", None
        failure = failure_of(error)
        if failure is None:
            _log.error("internal_error", method=self._method.name, **describe_error(error))
            failure = bug()
        return failure.code.name, failure

    def _end(self, status: str, error: BaseException | None) -> None:
        gate = self._gate
        gate.in_flight -= self._method.ours
        # What the caller did wrong, or chose, is no error of a server.
        failed = status in _SERVER_FAULTS
        error_type = None
        if failed:
            error_type = type(error).__name__ if status == "INTERNAL" and error is not None else status
        gate.telemetry.call(self._method.name, status, time.perf_counter() - self._began, error_type)
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


def _forget_frames(error: BaseException, _: object) -> None:
    error.__traceback__ = error.__context__ = None


_current: ContextVar[Call] = ContextVar("rankd_call")


def current_call() -> Call:
    """The call that this code runs for."""
    return _current.get()
