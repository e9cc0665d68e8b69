"""Which deadline a call has, and how much of it is waited."""

import time

from rankd_client.v1 import prediction_pb2 as pb
from support.gate import Gate
from support.wire import item, rank_stub, request


def test_the_default_is_for_calls_without_a_deadline(start_daemon):
    """A call that sets none is answered by the default; one that sets a longer one is waited for."""
    daemon = start_daemon(scoring={"nice": 0, "default_deadline": 0.3})
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        began = time.monotonic()
        answer = stub.Rank(request(item("a", "w1")))
        assert 0.2 < time.monotonic() - began < 2
        assert answer.reason == pb.FALLBACK_REASON_DEADLINE
        patient = stub.Rank.future(request(item("a", "w2")), timeout=20)
        time.sleep(0.6)
        assert not patient.done()
        gate.open.set()
        assert (patient.result().reason, patient.result().unscored_count) == (0, 0)


def test_deadlines_are_used_again_after_a_stall(start_daemon, wait_until):
    """What a stall taught of the time an answer takes, calls in time correct: no half of a deadline is given up."""
    daemon = start_daemon(scoring={"nice": 0, "deadline_margin": 0.5}, guard={"max_latency": 1e6})
    gate = Gate(daemon)
    known = queue_of(80, "w1")
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        assert stub.Rank(known, timeout=30).unscored_count == 0
        gate.open.clear()
        for stall in range(4):
            calls = [stub.Rank.future(queue_of(80, f"w2 w{stall}"), timeout=2.0) for _ in range(4)]
            wait_until(lambda: daemon.scorer.callers == 4)
            # The loop stands still from before the time to answer, 1.5 s, until shortly before the deadline.
            daemon.loop.call_soon_threadsafe(daemon.loop.call_later, 1.1, time.sleep, 0.7)
            for call in calls:
                call.exception(timeout=10)
        assert waited(stub, queue_of(4000, "w3")) < 1.2
        for _ in range(100):
            assert stub.Rank(known, timeout=30).unscored_count == 0
        assert waited(stub, queue_of(4000, "w4")) > 1.3
        gate.open.set()


def queue_of(items, word):
    """A queue of prompts that no queue with another word has."""
    return request(*(item(str(n), f"{word} w{n % 58} w{n // 58}") for n in range(items)))


def waited(stub, queue):
    """How long a queue that gets no scores is waited for within a deadline of 2 s."""
    began = time.monotonic()
    assert stub.Rank(queue, timeout=2.0).reason == pb.FALLBACK_REASON_DEADLINE
    return time.monotonic() - began
