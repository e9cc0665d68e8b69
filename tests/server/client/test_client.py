"""The client library, sync and asyncio by one body, against a real daemon and against servers that misbehave."""

import socket
import threading
import time
from concurrent import futures

import grpc
import pytest
from rankd_client import Completed, Item, Policy, RankdUnavailableError
from rankd_client.v1 import rank_pb2, rank_pb2_grpc


def test_order_report_and_read_quality(connect, start_daemon):
    """The three things a client is for, end to end."""
    daemon = start_daemon()
    client = connect(daemon.target, model="llm", timeout=30)
    queue = client.rank(["long long", "short", Item("w1", request_id="mine", arrival=time.time())])
    assert queue.order == [1, 2, 0]
    assert [r.position for r in queue] == [1, 2, 3]
    assert (queue.policy, queue.reason, queue.failed, queue.ranker_version) == (Policy.BOOST, "", False, "tiny@1.0.0")
    assert queue[1].request_id == "mine"
    assert queue[2].score > queue[0].score
    assert queue[2].expected_tokens > queue[0].expected_tokens
    done = [Completed(r.request_id, r.prediction, output_tokens=10 * r.position) for r in queue]
    result = client.report([*done, Completed("x", None, 3)])
    assert (result.accepted, result.duplicate, result.skipped, result.error) == (3, 0, 1, "")
    assert client.report(done).duplicate == 3
    report = client.quality()
    assert report.service.ranker_version == "tiny@1.0.0"
    assert report.qualities[0].completions == 3
    assert report.qualities[0].guard.mode == "warming_up"
    assert report.policies[0].calibration.mean_expected == 100
    assert (client.stats.calls, client.stats.ranked) == (1, 1)
    watch = client.watch_quality(0.1)
    assert next(watch).qualities[0].model == next(watch).qualities[0].model == "llm"


def test_predictions_stand_for_prompts(connect, daemon):
    """What rank gave can be passed in again without text."""
    client = connect(daemon.target, timeout=30)
    first = client.rank(["long", "short"])
    again = client.rank([Item(prediction=r.prediction, request_id=r.request_id) for r in first])
    assert [r.request_id for r in again] == [r.request_id for r in first]
    assert client.rank([Item(request_id="x")])[0].needs_prompt


def test_reports_name_what_was_rejected(connect, daemon):
    """Rejections come back with the caller's own index, reason and remedy."""
    client = connect(daemon.target, timeout=30)
    prediction = client.rank(["long"])[0].prediction
    wrong = type(prediction)(score=1.0, ranker_version="unknown@1")
    result = client.report([Completed("a", None, 1), Completed("b", wrong, 1)])
    assert [(i, reason) for i, reason, _ in result.rejected] == [(1, "unknown_ranker_version")]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([Item("a", request_id="x"), Item("b", request_id="x")], "request_id"),
        ([Item("a", request_id="")], r"items\[0\].request_id"),
        ([Item("a", arrival=float("nan"))], r"items\[0\].arrival"),
        ([Item("a", max_tokens=-1)], r"items\[0\]"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(connect, items, words):
    """A programming error raises at once, even where no daemon is."""
    client = connect("127.0.0.1:1")
    with pytest.raises(ValueError, match=words):
        client.rank(items)
    assert client.stats.calls == 0


class Faulty(rank_pb2_grpc.RankServiceServicer):
    """A rank service that misbehaves in a chosen way."""

    def __init__(self, fault):
        self.fault, self.released = fault, threading.Event()

    def Rank(self, request, context):  # noqa: N802
        ids = [i.request_id for i in request.items]
        answer = rank_pb2.RankResponse(policy=3)
        match self.fault:
            case "silent":
                self.released.wait(60)
            case "internal":
                context.abort(grpc.StatusCode.INTERNAL, "boom")
            case "quota":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            case "raises":
                raise RuntimeError("bug")
            case "missing":
                ids = ids[1:]
            case "twice":
                ids = [ids[0], *ids]
            case "stranger":
                ids = ["stranger", *ids[1:]]
            case "policy":
                answer.policy = 99
        for request_id in ids:
            answer.items.add(request_id=request_id)
        return answer


@pytest.fixture
def faulty():
    """A server that misbehaves."""
    started = []

    def start(fault):
        server, service = grpc.server(futures.ThreadPoolExecutor(4)), Faulty(fault)
        rank_pb2_grpc.add_RankServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        started.append((server, service))
        return f"127.0.0.1:{port}"

    yield start
    for server, service in started:
        service.released.set()
        server.stop(0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("silent", "timeout"),
        ("internal", "error:INTERNAL"),
        ("quota", "error:RESOURCE_EXHAUSTED"),
        ("raises", "error:UNKNOWN"),
        ("missing", "bad_answer"),
        ("twice", "bad_answer"),
        ("stranger", "bad_answer"),
        ("policy", "bad_answer"),
    ],
)
def test_a_sick_daemon_costs_no_request(connect, faulty, fault, reason):
    """Whatever the daemon does, every request comes back in arrival order, within the deadline, and it is counted."""
    client = connect(faulty(fault), timeout=0.3 if fault == "silent" else 30)
    items = [Item("p", request_id=str(n), arrival=1000.0 - n) for n in range(5)]
    queue = client.rank(items)
    assert [r.request_id for r in queue] == ["4", "3", "2", "1", "0"]
    assert [r.serving_key for r in queue] == [996_000, 997_000, 998_000, 999_000, 1_000_000]
    assert (queue.failed, queue.reason, queue.policy) == (True, reason, Policy.FCFS)
    assert client.stats.fallbacks == {reason: 1}


def test_garbage_costs_no_request(connect):
    """A port that speaks something else, or nothing, is survived the same way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(f"127.0.0.1:{server.getsockname()[1]}", timeout=0.2)
        assert client.rank(["a", "b"]).order == [0, 1]


def test_no_daemon_costs_no_request(connect):
    """Nobody listens: arrival order; a report says so; quality, which has no fallback, raises."""
    client = connect("127.0.0.1:1", timeout=1)
    queue = client.rank([Item("b", arrival=2.0), Item("a", arrival=1.0)])
    assert (queue.order, queue.failed) == ([1, 0], True)
    result = client.report([Completed("a", rank_pb2.RankedItem().prediction, 1)])
    assert result.accepted == 0
    assert "unavailable" in result.error
    with pytest.raises(RankdUnavailableError):
        client.quality(timeout=1)


def test_long_queues_are_split_and_merged(connect, daemon):
    """A queue beyond one message's limit comes back as one order, the same as its keys say."""
    client = connect(daemon.target, timeout=60)
    filler = "w1 " * 3000
    items = [Item(f"{'long ' * (n % 7)} w{n % 50} {filler}", request_id=f"{n:05}", arrival=1000.0) for n in range(900)]
    queue = client.rank(items)
    assert not queue.failed, client.stats.last_error
    assert sorted(queue.order) == list(range(900))
    keys = [(r.serving_key, r.request_id) for r in queue]
    assert keys == sorted(keys)
    assert queue[0].score < queue[-1].score


def test_text_that_is_no_unicode_is_ranked(connect, daemon):
    """Lone surrogates are replaced, not raised."""
    assert not connect(daemon.target, timeout=30).rank(["a\ud800b", "long"]).failed


def test_kill_9_costs_no_request_and_restart_ranks_again(connect, start_process, wait_until):
    """Calls go on through a kill -9: all answered, by arrival; with a new daemon on the port they are ranked again."""
    first = start_process()
    client = connect(first.target, timeout=20)
    items = [Item("long", request_id="a", arrival=1.0), Item("short", request_id="b", arrival=1.0)]
    assert client.rank(items).order == [1, 0]
    first.kill()
    for _ in range(20):
        queue = client.rank(items)
        assert (queue.order, queue.failed) == ([0, 1], True)
    start_process(port=first.port)
    wait_until(lambda: not client.rank(items).failed, what="ranking after the restart")
    assert client.rank(items).order == [1, 0]
