"""The client's side of RankStream, sync and asyncio by one body, against a real daemon and against sick ones."""

import itertools
import random
import threading
import time
from concurrent import futures

import grpc
import pytest
from rankd_client import Completed, Item, Progress
from rankd_client import _stream_core as stream_module
from rankd_client.v1 import prediction_pb2, rank_pb2, rank_pb2_grpc
from support.both_clients import SyncStream


def item(request_id, prompt=None, arrival=1000.0, **fields):
    return Item(prompt, request_id=request_id, arrival=arrival, **fields)


def test_a_queue_that_changes(connect_stream, start_daemon):
    """Arrivals, progress and departures; predictions for reports; counted as calls are."""
    daemon = start_daemon()
    s = connect_stream(daemon.target, timeout=30, model="llm")
    assert s.step([item("l", "long long"), item("s", "short")], max_wait=10) == ["s", "l"]
    assert s.stream.reason == ""
    assert s.stream.prediction("l").score > s.stream.prediction("s").score
    assert s.step([item("m", "w1")], max_wait=10) == ["s", "m", "l"]
    assert s.step(progressed={"s": 100_000, "stranger": 3}) == ["m", "l", "s"]
    assert s.report([Completed("s", s.stream.prediction("s"), 100_000)]).accepted == 1
    assert s.step(gone=["s", "stranger"]) == ["m", "l"]
    assert s.stream.prediction("s") is None
    assert s.step([item("l", "short")], max_wait=10) == ["l", "m"], "the same id anew replaces"
    assert s.client.stats.calls == s.client.stats.ranked == 5
    assert s.step(gone=["m", "l"]) == []


def test_shares_and_who_runs_are_told_and_kept(connect_stream, start_process):
    """Fair shares and preemption reach the daemon; a daemon that comes later is told both; they hold without one."""
    first = start_process()
    s = connect_stream(first.target, timeout=30)
    queue = [item("a", "w1", 1.0, tenant="a"), item("b", "w1", 2.0, tenant="b"), item("c", "w1", 3.0, tenant="b")]
    assert s.step(queue, max_wait=10, served={"a": 9e6}) == ["b", "c", "a"]
    assert s.step(progressed={"a": Progress(5, running=True, overtaken=1)}) == ["a", "b", "c"], "what runs goes first"
    first.kill()
    assert s.step() == ["a", "b", "c"]
    assert s.stream.reason in {"unavailable", "error:CANCELLED"}
    assert s.step(progressed={"a": Progress(5, running=False)}) == ["b", "c", "a"], "by arrival, and fair"
    second = start_process(port=first.port)
    for _ in range(100):
        order = s.step(timeout=30)
        if not s.stream.reason:
            break
        time.sleep(0.1)
    assert order == ["b", "c", "a"]
    assert s.stream.reason == ""
    assert s.step(served={"a": 0.0, "b": 9e6}) == ["a", "b", "c"]
    assert second.process.poll() is None


def test_any_changes_keep_both_sides_the_same(connect_stream, daemon):
    """After random changes the daemon's queue is the caller's, every time, and without one fallback of the client."""
    s = connect_stream(daemon.target, timeout=10)
    generator, alive, fresh = random.Random(7), set(), itertools.count()
    for _ in range(60):
        gone = set(generator.sample(sorted(alive), generator.randrange(len(alive) + 1) // 2))
        names = [f"r{next(fresh)}" for _ in range(generator.randrange(6))]
        if gone and generator.random() < 0.5:
            names.append(min(gone))  # goes and comes in one step
        progressed = {name: generator.randrange(500) for name in generator.sample(sorted(alive), len(alive) // 3)}
        arrived = [item(n, generator.choice(["long", "short", None]), generator.random() * 1000) for n in names]
        alive = (alive - gone) | set(names)
        order = s.step(arrived, progressed, gone, max_wait=generator.choice([0, 2]))
        assert sorted(order) == sorted(alive)
    assert set(s.client.stats.fallbacks) <= {"deadline", "needs_prompt"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arrived": [Item("a")]}, "request_id"),
        ({"arrived": [item("a", "p"), item("a", "p")]}, "request_id"),
        ({"arrived": [item("a", "p", arrival=float("nan"))]}, "arrival"),
        ({"arrived": [item("a", "p")], "progressed": {"a": -1}}, "progressed"),
        ({"arrived": [item("a", "p")], "progressed": {"a": Progress(1, overtaken=-1)}}, "progressed"),
        ({"arrived": [item("a", "p")], "served": {"t": float("inf")}}, "served"),
        ({"arrived": [item("a", "p")], "weights": {"t": 0.0}}, "weights"),
    ],
)
def test_mistakes_change_nothing(connect_stream, daemon, change, words):
    """A change with a mistake raises, and the queue is as it was before."""
    s = connect_stream(daemon.target, timeout=30)
    s.step([item("z", "short")], max_wait=10)
    with pytest.raises(ValueError, match=words):
        s.step(gone=["z"], **change)
    assert s.step() == ["z"]


def test_no_daemon(connect_stream):
    """Without a daemon every step gives the whole queue by arrival, soon, and is counted."""
    s = connect_stream("127.0.0.1:1", timeout=60)
    assert s.step([item("b", "p", 2.0), item("a", "p", 1.0)]) == ["a", "b"]
    for n in range(100):
        assert s.step([item(f"c{n:03}", "p", 3.0)], gone=[f"c{n - 1:03}"])[:2] == ["a", "b"]
    assert s.stream.reason == "unavailable", "nobody waited for the timeout"
    assert s.client.stats.fallbacks == {"unavailable": 101}


def test_kill_9_and_a_new_daemon(connect_stream, start_process, wait_until):
    """The stream goes on through a kill -9; a new daemon is told the whole queue, by predictions instead of prompts."""
    first = start_process()
    s = connect_stream(first.target, timeout=30)
    assert s.step([item("l", "long long"), item("s", "short")], max_wait=10) == ["s", "l"]
    first.kill()
    for _ in range(5):
        assert s.step() == ["l", "s"]
    assert s.step([item("m", "w1")], gone=["l"]) == ["m", "s"]
    start_process(port=first.port)
    wait_until(lambda: s.step(max_wait=10) == ["s", "m"] and s.stream.reason == "", what="ranking again")


class Scripted(rank_pb2_grpc.RankServiceServicer):
    """Keeps a queue as the daemon does, notes what it is told, and misbehaves when told to."""

    def __init__(self):
        self.fault, self.opened, self.told, self.go_on = "", 0, [], threading.Event()

    def RankStream(self, requests, context):  # noqa: N802
        self.opened += 1
        ids = []
        for request in requests:
            self.told.append(request)
            for gone in request.gone_request_ids:
                ids.remove(gone)
            ids = [i for i in ids if i not in {a.request_id for a in request.arrived}]
            ids += [a.request_id for a in request.arrived]
            if self.fault == "ends":
                return
            if self.fault == "dies":
                context.abort(grpc.StatusCode.INTERNAL, "boom")
            answer = self._answer(request, ids)
            if self.fault == "waits":
                self.go_on.wait(30)
            yield answer

    def _answer(self, request, ids):
        answer = rank_pb2.RankStreamResponse(sequence=request.sequence, policy=3, ranker_version="a@1")
        answer.request_ids.extend(sorted(ids))
        for at, request_id in enumerate(answer.request_ids):
            text = next((a.prompt for a in request.arrived if a.request_id == request_id), None)
            if text:
                prediction = prediction_pb2.Prediction(score=float(len(text)), ranker_version="a@1")
                answer.changed_items.add(request_id=request_id, index=at, prediction=prediction)
        match self.fault:
            case "missing":
                del answer.request_ids[:]
            case "stranger":
                answer.request_ids[0] = "stranger"
            case "twice":
                answer.request_ids.append(answer.request_ids[0])
            case "ahead":
                answer.sequence += 1
            case "nan":
                answer.changed_items[0].prediction.score = float("nan")
            case "forgets":
                answer.changed_items.add(request_id=ids[0], needs_prompt=True)
        return answer


@pytest.fixture
def scripted():
    """A stream server that misbehaves when told to."""
    service = Scripted()
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 4 * 2**20)])
    rank_pb2_grpc.add_RankServiceServicer_to_server(service, server)
    service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    service.go_on.set()
    server.stop(0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ends", "unavailable"),
        ("dies", "error:INTERNAL"),
        ("missing", "bad_answer"),
        ("stranger", "bad_answer"),
        ("twice", "bad_answer"),
        ("ahead", "bad_answer"),
        ("nan", "bad_answer"),
    ],
)
def test_a_sick_daemon_costs_no_request(connect_stream, scripted, fault, reason, wait_until):
    """Whatever comes, the queue is whole and by arrival; the next stream is told all of it, and ranks again."""
    s = connect_stream(scripted.target, timeout=30)
    assert s.step([item("a", "prompt", 2.0), item("b", "longer prompt", 1.0)]) == ["a", "b"]
    scripted.fault = fault
    assert s.step([item("c", "p", 0.0)]) == ["c", "b", "a"]
    assert s.stream.reason == reason
    scripted.fault = ""
    wait_until(lambda: s.step() == ["a", "b", "c"], what="ranking again")
    assert (scripted.opened, s.stream.reason) == (2, "")
    again = next(r for r in scripted.told[2:] if r.arrived)
    known = {a.request_id: (a.prompt, a.prediction.score, a.arrival_time.seconds) for a in again.arrived}
    assert (known["a"], known["b"]) == (("", 6.0, 2), ("", 13.0, 1)), "predictions stand for prompts"
    assert again.options.model == ""


def test_a_late_answer_does_not_cost_the_stream(connect_stream, scripted):
    """A step that got no answer in time is by arrival; the next waits for its own answer, and nothing is resent."""
    s = connect_stream(scripted.target, timeout=30)
    s.step([item("a", "p", 2.0)])
    scripted.fault = "waits"
    assert s.step([item("b", "p", 1.0)], timeout=0.2) == ["b", "a"]
    assert s.step(timeout=0.0) == ["b", "a"]
    assert s.stream.reason == "timeout"
    scripted.go_on.set()
    assert s.step([item("c", "p", 0.0)]) == ["a", "b", "c"]
    assert scripted.opened == 1
    assert [[a.request_id for a in r.arrived] for r in scripted.told] == [["a"], ["b"], [], ["c"]]


def test_a_late_answer_is_not_taken_for_a_new_request(connect_stream, scripted):
    """A prediction that comes late is not given to another request that has the id by now."""
    s = connect_stream(scripted.target, timeout=30)
    scripted.fault = "waits"
    s.step([item("a", "a long prompt")], timeout=0.1)
    s.step(gone=["a"], timeout=0.1)
    scripted.go_on.set()
    s.step([item("a", "p")])
    assert s.stream.prediction("a").score == 1.0


def test_a_hung_stream_is_given_up(connect_stream, scripted, monkeypatch, wait_until):
    """A daemon that is silent for long gets a new stream, and messages do not pile up on the old one."""
    monkeypatch.setattr(stream_module, "_HUNG", 0.3)
    s = connect_stream(scripted.target, timeout=0.1)
    s.step([item("b", "p", 1.0), item("a", "p", 2.0)], timeout=30)
    scripted.fault = "waits"
    for _ in range(6):
        assert s.step() == ["b", "a"]
    assert len(scripted.told) < 6
    scripted.fault = ""
    wait_until(lambda: s.step() == ["a", "b"], what="a new stream")
    assert scripted.opened >= 2


def test_a_prompt_is_sent_again_when_asked_for(connect_stream, scripted):
    """Where the daemon can no longer use a prediction, the prompt that was kept goes with the next step."""
    s = connect_stream(scripted.target, timeout=30)
    s.step([item("a", "prompt"), item("b", None)])
    scripted.fault = "forgets"
    s.step()
    scripted.fault = ""
    s.step()
    s.step()
    assert [[(a.request_id, a.prompt) for a in r.arrived] for r in scripted.told[1:]] == [[], [("a", "prompt")], []]


def test_long_queues_go_in_parts(connect_stream, scripted):
    """Arrivals of 8 MB, and the resending of a queue, are several messages, none over the limit."""
    s = connect_stream(scripted.target, timeout=20)
    many = [item(f"{n:02}", "x" * 200_000, 100.0 - n) for n in range(40)]
    assert s.step(many) == [i.request_id for i in many]
    assert len(scripted.told) > 1
    assert max(r.ByteSize() for r in scripted.told) < 4 * 2**20
    assert scripted.opened == 1


def test_closing_leaves_no_thread(connect_stream, scripted, wait_until):
    """A stream's threads end with it, and a closed one opens again when it is used."""

    def threads():
        return [t for t in threading.enumerate() if t.name == "rankd-stream"]

    s = connect_stream(scripted.target, timeout=30)
    s.step([item("a", "p")])
    assert bool(threads()) == isinstance(s, SyncStream)
    s.close_stream()
    wait_until(lambda: not threads(), what="the end of the stream's thread")
    assert s.step() == ["a"]
    assert scripted.opened == 2


def test_a_closed_client_leaves_the_stream_by_arrival(connect_stream, daemon):
    """Closing the client under a stream is one more thing that does not raise."""
    s = connect_stream(daemon.target, timeout=30)
    s.step([item("l", "long", 1.0), item("s", "short", 1.5)], max_wait=10)
    s.close_client()
    assert s.step() == ["l", "s"]
    assert s.step() == ["l", "s"]
