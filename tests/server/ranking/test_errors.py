"""How calls end: statuses and details, what metrics say of them, refusals, and what is served where."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import grpc
import pytest
from rankd_client.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    completion_pb2,
    completion_pb2_grpc,
    quality_pb2,
    quality_pb2_grpc,
    rank_pb2,
    rank_pb2_grpc,
)
from support.wire import details

from rankd.errors import (
    ArtifactError,
    FieldViolation,
    InferenceError,
    InvalidRequestError,
    NotFoundError,
    ProviderError,
    QuotaError,
    UnavailableError,
)
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.grpc_status import BUG_TEXT, DOMAIN
from rankd.transport.interceptor import CallInterceptor
from rankd.transport.rate_limit import RateLimit
from rankd.transport.server import WrappedHandlers

SECRET = "sesame-prompt"
GARBAGE = b"\xff\xff\xff"
BAD_TEXT = b"\x0a\x02\xff\xfe"  # field 1, a string that is no UTF-8


class Seen(Telemetry):
    """Keeps what is said of calls: method, status, error type."""

    def __init__(self):
        super().__init__("0")
        self.calls = []

    def call(self, method, status, seconds, error_type):
        self.calls.append((method.rpartition("/")[2], status, error_type))
        super().call(method, status, seconds, error_type)


@asynccontextmanager
async def serving(service="rankd.test.T", rate=None, **methods):
    """A server with our interceptor; gives a channel, the interceptor and what telemetry saw."""
    seen = Seen()
    interceptor = CallInterceptor(seen, rate or RateLimit(0, 1))
    server = grpc.aio.server()
    WrappedHandlers(server, interceptor).add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, methods)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, interceptor, seen
    await server.stop(0)


async def eventually(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def failing(channel, method="Call", **options):
    with pytest.raises(grpc.RpcError) as raised:
        await channel.unary_unary(f"/rankd.test.T/{method}")(b"", **({"timeout": 30} | options))
    return raised.value


@pytest.mark.parametrize(
    ("error", "code", "reason", "detail"),
    [
        (InvalidRequestError([FieldViolation("items[0]", "x")]), "INVALID_ARGUMENT", "INVALID_FIELD", "BadRequest"),
        (NotFoundError("no such ranker"), "NOT_FOUND", "NOT_FOUND", None),
        (QuotaError("too fast", 0.25), "RESOURCE_EXHAUSTED", "RATE_LIMITED", "RetryInfo"),
        (UnavailableError("draining", 2.0), "UNAVAILABLE", "NOT_SERVING", "RetryInfo"),
        (ArtifactError("HASH", "wrong hash"), "FAILED_PRECONDITION", "RANKER_UNUSABLE", None),
        (ProviderError("no cuda"), "FAILED_PRECONDITION", "RANKER_UNUSABLE", None),
        (InferenceError("failed"), "INTERNAL", "BUG", None),
        (ValueError(SECRET), "INTERNAL", "BUG", None),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_domain_errors_become_statuses(error, code, reason, detail, streaming):
    """Each error has its status, ErrorInfo and details, in unary calls and streams; bugs have a fixed text."""

    async def unary(_request, _context):
        raise error

    async def stream(requests, _context):
        async for _ in requests:
            raise error
            yield

    async def run():
        methods = {
            "Call": grpc.unary_unary_rpc_method_handler(unary),
            "Stream": grpc.stream_stream_rpc_method_handler(stream),
        }
        async with serving(**methods) as (channel, _, seen):
            if streaming:
                with pytest.raises(grpc.RpcError) as raised:
                    await channel.stream_stream("/rankd.test.T/Stream")(iter([b""]), timeout=30).read()
                failed = raised.value
            else:
                failed = await failing(channel)
            await eventually(lambda: seen.calls)
            return failed, seen.calls

    failed, calls = asyncio.run(run())
    assert failed.code().name == code
    found = details(failed)
    assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == (reason, DOMAIN)
    assert set(found) == {"ErrorInfo"} | ({detail} if detail else set())
    if detail == "RetryInfo":
        assert found["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == error.retry_after
    if reason == "BUG":
        assert failed.details() == BUG_TEXT
    error_type = {"INTERNAL": type(error).__name__, "UNAVAILABLE": "UNAVAILABLE"}.get(code)
    assert calls == [("Stream" if streaming else "Call", code, error_type)]


def test_metrics_tell_how_a_call_really_ended():
    """Aborts, statuses set by hand, expired deadlines, cancellations and unknown methods."""

    async def aborts(_request, context):
        await context.abort(grpc.StatusCode.ABORTED, "no")

    async def sets(_request, context):
        context.set_code(grpc.StatusCode.OUT_OF_RANGE)
        return b""

    slept = []

    async def sleeps(_request, _context):
        slept.append(True)
        await asyncio.sleep(60)

    async def run():
        methods = {"Aborts": aborts, "Sets": sets, "Sleeps": sleeps}
        handlers = {name: grpc.unary_unary_rpc_method_handler(m) for name, m in methods.items()}
        async with serving(**handlers) as (channel, interceptor, seen):
            assert (await failing(channel, "Aborts")).code() is grpc.StatusCode.ABORTED
            assert (await failing(channel, "Sets")).code() is grpc.StatusCode.OUT_OF_RANGE
            for _ in range(20):  # now and then the caller's clock is first
                await failing(channel, "Sleeps", timeout=0.02)
            await failing(channel, "Nothing")
            # Each that came; one whose deadline passed on its way need not.
            await eventually(lambda: interceptor.in_flight == 0 and len(seen.calls) >= 3 + len(slept) > 3)
            assert len(seen.calls) <= 23
            given_up = channel.unary_unary("/rankd.test.T/Sleeps")(b"")
            await eventually(lambda: interceptor.in_flight == 1)
            given_up.cancel()
            await eventually(lambda: ("Sleeps", "CANCELLED", None) in seen.calls and interceptor.in_flight == 0)
            return seen.calls

    calls = asyncio.run(run())
    assert set(calls) == {
        ("Aborts", "ABORTED", None),
        ("Sets", "OUT_OF_RANGE", None),
        ("Sleeps", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        ("_OTHER", "UNIMPLEMENTED", "UNIMPLEMENTED"),
        ("Sleeps", "CANCELLED", None),
    }
    assert calls.count(("Sleeps", "CANCELLED", None)) == 1


def test_a_cancelled_stream_leaves_nothing_behind(caplog):
    """A stream that its caller cancels is counted once, is no longer in flight, and OpenTelemetry logs no failure."""

    async def floods(_request, _context):
        while True:
            yield b"x" * 1_000_000

    async def run():
        async with serving(Floods=grpc.unary_stream_rpc_method_handler(floods)) as (channel, interceptor, seen):
            for n in range(3):
                call = channel.unary_stream("/rankd.test.T/Floods")(b"")
                await call.read()
                call.cancel()
                await eventually(lambda n=n: len(seen.calls) == n + 1)
            assert interceptor.in_flight == 0
            return seen.calls

    with caplog.at_level(logging.WARNING, "opentelemetry"):
        assert asyncio.run(run()) == [("Floods", "CANCELLED", None)] * 3
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]


@pytest.mark.parametrize("garbage", [GARBAGE, BAD_TEXT])
@pytest.mark.parametrize(
    "method",
    [
        "rankd.v1.RankService/Rank",
        "rankd.v1.RankService/RankStream",
        "rankd.v1.QualityService/WatchQuality",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_undecodable_requests_are_the_callers_fault(daemon, method, garbage):
    """Bytes that are no message get INVALID_ARGUMENT with ErrorInfo from every method, of every arity."""

    def call(channel):
        if "Stream" in method or "Reflection" in method:
            return list(channel.stream_stream(f"/{method}")(iter([garbage]), timeout=30))
        if "Watch" in method:
            return list(channel.unary_stream(f"/{method}")(garbage, timeout=30))
        return channel.unary_unary(f"/{method}")(garbage, timeout=30)

    with daemon.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        call(channel)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, raised.value.details()
    assert details(raised.value)["ErrorInfo"].reason == "INVALID_FIELD"


SERVICES = [
    service
    for module in (admin_pb2, completion_pb2, quality_pb2, rank_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = [method for service in SERVICES for method in service.methods]


def ask_nothing(channel, method):
    """Call a method with an empty request; gives the status, of a stream that of its first answer."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{method.containing_service.full_name}/{method.name}")
    try:
        answer = call(iter([b""]) if method.client_streaming else b"", timeout=10)
        if method.server_streaming:
            next(answer)
            answer.cancel()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name.removeprefix("rankd.v1."))
def test_every_method_takes_an_empty_request(daemon, method):
    """Whatever the contract has is implemented, and an empty request is answered or named as wrong, never INTERNAL."""
    admin = method.containing_service.name == "AdminService"
    with daemon.channel(daemon.admin_target if admin else None) as channel:
        status = ask_nothing(channel, method)
    wrong = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
    assert status in wrong | {grpc.StatusCode.OK}


@pytest.mark.parametrize("module", [admin_pb2_grpc, completion_pb2_grpc, quality_pb2_grpc, rank_pb2_grpc])
def test_a_method_that_is_left_out_is_unimplemented(module):
    """What a generated servicer does by itself, in calls of every arity, is no bug of ours."""
    (name,) = (n.removesuffix("Servicer") for n in vars(module) if n.endswith("Servicer"))
    methods = next(s.methods for s in SERVICES if s.name == name)

    async def run():
        seen = Seen()
        server = grpc.aio.server()
        handlers = WrappedHandlers(server, CallInterceptor(seen, RateLimit(0, 1)))
        getattr(module, f"add_{name}Servicer_to_server")(getattr(module, f"{name}Servicer")(), handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            statuses = [await asyncio.to_thread(ask_nothing, channel, m) for m in methods]
        await server.stop(0)
        return statuses, seen.calls

    statuses, calls = asyncio.run(run())
    assert statuses == [grpc.StatusCode.UNIMPLEMENTED] * len(methods)
    assert calls == [(m.name, "UNIMPLEMENTED", "UNIMPLEMENTED") for m in methods]
