"""What the client library does about daemons that lie, die or mumble, sync and asyncio by one body."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rankd_client import AsyncRankClient, Completed, Item, Policy, RankClient, RankdUnavailableError, _trace
from rankd_client.v1 import prediction_pb2, rank_pb2

SECRET = "sesame-prompt"
RANK = "/rankd.v1.RankService/Rank"


class Anything(grpc.GenericRpcHandler):
    """Answers every unary call by bytes, of which nobody says that they are a message."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def service(self, details):
        def handle(request, context):
            self.calls.append((details.method, request, dict(context.invocation_metadata())))
            return self.answer(request, context)

        return grpc.unary_unary_rpc_method_handler(handle)


@pytest.fixture
def serve():
    """Starts servers that answer by a function from bytes and context to bytes."""
    servers = []

    def start(answer):
        handler = Anything(answer)
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        server.add_generic_rpc_handlers((handler,))
        handler.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        servers.append(server)
        return handler

    yield start
    for server in servers:
        server.stop(0)


def echo(policy=3, key=lambda _: 0, **fields):
    """An answer in the order asked, with keys of the test's making."""

    def answer(request, _context):
        items = rank_pb2.RankRequest.FromString(request).items
        out = rank_pb2.RankResponse(policy=policy, **fields)
        for item in items:
            out.items.add(request_id=item.request_id, serving_key=key(item))
        return out.SerializeToString()

    return answer


def refuse(code, text):
    return lambda _request, context: context.abort(code, text)


QUEUE = [Item(SECRET, request_id=str(n), arrival=1000.0 - n) for n in range(4)]
BY_ARRIVAL = ["3", "2", "1", "0"]


def test_bytes_that_are_no_message(connect, serve):
    """An answer that cannot be read is a fallback like any other."""
    client = connect(serve(lambda *_: b"\xff\xff garbage").target, timeout=30)
    queue = client.rank(QUEUE)
    assert [r.request_id for r in queue] == BY_ARRIVAL
    assert queue.reason in ("bad_answer", "error:INTERNAL")
    result = client.report([Completed("x", prediction_pb2.Prediction(), 1)])
    assert (result.accepted, bool(result.error)) == (0, True)


@pytest.mark.parametrize(("field", "value"), [("score", float("nan")), ("expected_token_count", float("inf"))])
def test_a_prediction_that_is_no_number(connect, serve, field, value):
    """NaN does not reach an engine that computes with what it gets."""

    def answer(request, context):
        out = rank_pb2.RankResponse.FromString(echo()(request, context))
        out.items[0].prediction.CopyFrom(prediction_pb2.Prediction(**{field: value}))
        return out.SerializeToString()

    queue = connect(serve(answer).target, timeout=30).rank(QUEUE)
    assert ([r.request_id for r in queue], queue.reason) == (BY_ARRIVAL, "bad_answer")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL])
def test_what_a_server_blurts_out_is_not_kept(connect, serve, code):
    """A server that repeats a prompt in the text of its error does not get it into the client's statistics."""
    client = connect(serve(refuse(code, f"bug while reading {SECRET}")).target, timeout=30)
    assert client.rank(QUEUE).reason == f"error:{code.name}"
    assert SECRET not in client.stats.last_error
    assert SECRET not in client.report([Completed("x", prediction_pb2.Prediction(), 1)]).error


def test_what_the_caller_must_change_is_told(connect, serve):
    """The text of a refusal that names a remedy is kept."""
    client = connect(serve(refuse(grpc.StatusCode.INVALID_ARGUMENT, "items[0]: is too long")).target, timeout=30)
    assert client.rank(QUEUE).reason == "error:INVALID_ARGUMENT"
    assert client.stats.last_error == "items[0]: is too long"


def test_prompts_without_a_time_fall_back_in_the_order_given(connect):
    """Prompts that arrived together keep the order they were passed in, however their ids were made up."""
    client = connect("127.0.0.1:1", timeout=1)
    for _ in range(3):
        queue = client.rank([f"p{n}" for n in range(50)])
        assert queue.order == list(range(50))
        assert len({r.request_id for r in queue}) == 50


@pytest.mark.parametrize(
    ("items", "error", "words"),
    [
        ([Item("a", request_id="x" * 257)], ValueError, r"items\[0\].request_id: is over 256"),
        ([Item("a", request_id="x\ud800")], ValueError, r"items\[0\].request_id: must be Unicode"),
        (["a", Item("a", arrival=float("inf"))], ValueError, r"items\[1\].arrival"),
        ([None], TypeError, r"items\[0\]"),
        ([Item(b"bytes")], TypeError, r"items\[0\]"),
    ],
)
def test_mistakes_that_would_cost_the_whole_queue_are_told(connect, items, error, words):
    """What the daemon would refuse for good is the caller's to correct, and raises before anything is sent."""
    client = connect("127.0.0.1:1")
    with pytest.raises(error, match=words):
        client.rank(items)
    assert client.stats.calls == 0


@pytest.mark.parametrize("field", ["finish_reason", "arrival", "output_tokens"])
def test_impossible_reports_are_told(connect, field):
    """A report that can never be taken raises and names its field."""
    wrong = {"finish_reason": "tired", "arrival": float("nan"), "output_tokens": -1}[field]
    done = {"request_id": "x", "prediction": prediction_pb2.Prediction(), "output_tokens": 1, field: wrong}
    with pytest.raises(ValueError, match=rf"completions\[0\].{field}"):
        connect("127.0.0.1:1").report([Completed(**done)])


LONG = [Item("x" * 200_000, request_id=f"{n:02}", arrival=1000.0 - n) for n in range(40)]


def test_parts_are_merged_by_key(connect, serve):
    """A queue of 8 MB is asked in parts at the same time, and comes back as one order by its keys."""
    handler = serve(echo(key=lambda item: int(item.request_id) * 7 % 40))
    queue = connect(handler.target, timeout=20).rank(LONG)
    assert len(handler.calls) > 1
    assert max(len(request) for _, request, _ in handler.calls) < 4 * 2**20
    assert [int(r.request_id) * 7 % 40 for r in queue] == list(range(40))
    assert (queue.policy, queue.reason, queue.failed) == (Policy.DUE, "", False)


def test_one_part_that_fails_fails_all(connect, serve):
    """Half an order is none."""

    def answer(request, context):
        if b"00" in [i.request_id.encode() for i in rank_pb2.RankRequest.FromString(request).items]:
            context.abort(grpc.StatusCode.INTERNAL, "no")
        return echo()(request, context)

    client = connect(serve(answer).target, timeout=20)
    queue = client.rank(LONG)
    assert (queue.reason, queue.failed) == ("error:INTERNAL", True)
    assert queue.order == list(range(39, -1, -1))
    assert client.stats.fallbacks == {"error:INTERNAL": 1}


def test_parts_of_different_policies_go_by_arrival(connect, serve):
    """Due times of one part and arrival times of another do not mix: all of it is in arrival order, and says so."""

    def answer(request, context):
        late = rank_pb2.RankRequest.FromString(request).items[0].request_id != "00"
        return echo(policy=1, reason=1)(request, context) if late else echo(key=lambda _: 1)(request, context)

    queue = connect(serve(answer).target, timeout=20).rank(LONG)
    assert queue.order == list(range(39, -1, -1))
    assert (queue.policy, queue.reason, queue.failed) == (Policy.FCFS, "deadline", False)
    assert [r.serving_key for r in queue] == [1000 * (1000 - n) for n in range(39, -1, -1)]


def test_parts_of_different_rankers_are_refused(connect, serve):
    """Where a new ranker came into service between two parts, their keys are not compared."""
    versions = iter(["a@1", *["a@2"] * 9])

    def answer(request, context):
        return echo(ranker_version=next(versions))(request, context)

    client = connect(serve(answer).target, timeout=20)
    assert client.rank(LONG).reason == "bad_answer"


def test_a_prompt_over_the_daemons_limit_does_not_cost_the_queue(connect, daemon):
    """A prompt of megabytes is sent shortened; the others keep their rank."""
    queue = connect(daemon.target, timeout=20).rank(["long long", "é" * 3_000_000, "short"])
    assert not queue.failed
    assert queue.order.index(2) < queue.order.index(0)


DYING = """
import os, sys, grpc
from concurrent import futures
class Die(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: os._exit(9))
server = grpc.server(futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((Die(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def test_a_daemon_that_dies_mid_call(connect):
    """The call in flight when the process ends comes back at once, by arrival."""
    with subprocess.Popen([sys.executable, "-c", DYING], stdout=subprocess.PIPE, text=True) as process:
        client = connect(f"127.0.0.1:{int(process.stdout.readline())}", timeout=60)
        queue = client.rank(QUEUE)
        assert ([r.request_id for r in queue], queue.reason) == (BY_ARRIVAL, "unavailable")
        assert process.wait(30) == 9


def test_a_frozen_daemon_costs_its_deadline(connect, start_process):
    """A process that is stopped, not dead, is survived within the deadline; when it goes on, it ranks again."""
    daemon = start_process()
    client = connect(daemon.target, timeout=0.3)
    items = [Item("long", request_id="a", arrival=1.0), Item("short", request_id="b", arrival=1.0)]
    client.rank(items, timeout=30)
    os.kill(daemon.process.pid, signal.SIGSTOP)
    queue = client.rank(items)
    os.kill(daemon.process.pid, signal.SIGCONT)
    assert (queue.order, queue.reason) == ([0, 1], "timeout")
    assert client.rank(items, timeout=30).order == [1, 0]


def test_questions_without_fallback_raise_one_type(connect, serve):
    """Garbage, refusals and closed connections all are RankdUnavailableError where there is nothing to fall back on."""
    for answer in (lambda *_: b"\xff", refuse(grpc.StatusCode.INTERNAL, SECRET)):
        client = connect(serve(answer).target)
        with pytest.raises(RankdUnavailableError) as caught:
            client.quality()
        assert SECRET not in str(caught.value)
        with pytest.raises(RankdUnavailableError):
            next(client.watch_quality())


def test_a_closed_client_falls_back():
    """Calls after close, as at shutdown, are answered by arrival too."""
    client = RankClient("127.0.0.1:1")
    client.close()
    assert client.rank(["a", "b"]).order == [0, 1]
    assert client.report([Completed("x", prediction_pb2.Prediction(), 1)]).error
    with pytest.raises(RankdUnavailableError):
        client.quality()

    async def closed():
        client = AsyncRankClient("127.0.0.1:1")
        await client.close()
        assert (await client.rank(["a", "b"])).order == [0, 1]
        assert (await client.report([Completed("x", prediction_pb2.Prediction(), 1)])).error
        with pytest.raises(RankdUnavailableError):
            await client.quality()

    asyncio.run(closed())


def test_closing_while_calls_wait_answers_them():
    """Calls in flight at close come back by arrival; nothing is raised into the engine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        client = RankClient(target, timeout=3600)
        threading.Timer(0.2, client.close).start()
        assert client.rank(QUEUE).failed

        async def main():
            client = AsyncRankClient(target, timeout=3600)
            waiting = asyncio.create_task(client.rank(QUEUE))
            await asyncio.sleep(0.2)
            await client.close()
            assert [r.request_id for r in await waiting] == BY_ARRIVAL

        asyncio.run(main())


def test_cancelling_is_not_swallowed():
    """A task that is cancelled by its owner ends cancelled: falling back is for the daemon's faults only."""

    async def main(target):
        async with AsyncRankClient(target, timeout=10) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.rank(QUEUE), 0.1)
            assert client.stats.calls == 0

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(f"127.0.0.1:{silent.getsockname()[1]}"))


def test_threads_share_a_client(daemon):
    """Eight threads on one client: every call whole, every call counted."""
    with RankClient(daemon.target, timeout=20) as client, futures.ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(lambda _: client.rank(["long", "short", "w1"]).order, range(80)))
    assert orders == [[1, 2, 0]] * 80
    assert client.stats.calls == client.stats.ranked == 80


def test_the_trace_goes_along(connect, serve, monkeypatch):
    """Where OpenTelemetry is set up, a client span is recorded, holds no prompt, and its context is sent."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_trace._tracing.trace, "get_tracer", provider.get_tracer)
    handler = serve(echo())
    connect(handler.target, timeout=30).rank([Item(SECRET, request_id="secret-id")])
    (span,) = exporter.get_finished_spans()
    assert span.kind is trace.SpanKind.CLIENT
    assert f"{span.context.trace_id:032x}" in handler.calls[0][2]["traceparent"]
    assert SECRET not in span.to_json()
    assert "secret-id" not in span.to_json()


@pytest.mark.parametrize("call", ["RankClient('127.0.0.1:1').rank(['a', 'b']).order"])
def test_it_works_without_opentelemetry_and_without_the_daemons_package(call):
    """The client needs grpcio, protobuf and numpy only."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None; sys.modules['rankd'] = None\n"
        f"from rankd_client import RankClient\nassert {call} == [0, 1]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
