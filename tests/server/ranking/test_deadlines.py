"""Which deadline a call has, and how much of it is waited."""

import gc
import time

from rankd_client.v1 import prediction_pb2 as pb
from support.gate import Gate
from support.wire import item, rank_stub, request

from rankd.transport.services.rank import RankService


def test_the_default_is_for_calls_without_a_deadline(start_daemon):
    """A call that sets none is answered by the default; one that sets a longer one is waited for."""
    daemon = start_daemon(scoring={"nice": 0, "default_deadline": 0.3})
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        began = time.monotonic()
        answer = stub.Rank(request(item("a", "w1")))
        assert time.monotonic() - began > 0.2
        assert answer.reason == pb.FALLBACK_REASON_DEADLINE
        patient = stub.Rank.future(request(item("a", "w2")), timeout=20)
        time.sleep(0.6)
        assert not patient.done()
        gate.open.set()
        assert (patient.result().reason, patient.result().unscored_count) == (0, 0)


def test_deadlines_are_used_again_after_a_stall(start_daemon, wait_until):
    """What a stall taught of the time an answer takes, calls in time correct: no half of a deadline is given up."""
    daemon = start_daemon(scoring={"nice": 0, "deadline_margin": 60.0}, guard={"max_latency": 1e6})
    gate = Gate(daemon)
    known = queue_of(80, "w1")
    (pace,) = [s._pace for s in gc.get_objects() if type(s) is RankService and s._loop is daemon.loop]
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        assert stub.Rank(known, timeout=30).unscored_count == 0
        gate.open.clear()
        began = time.monotonic()
        calls = [stub.Rank.future(queue_of(80, "w2"), timeout=12.0) for _ in range(4)]
        wait_until(lambda: daemon.scorer.callers == 4)
        # The loop stands still until after the time to answer, half of what a call has left, and goes on long before
        # the deadline.
        gone = time.monotonic() - began
        daemon.loop.call_soon_threadsafe(time.sleep, gone + (12.0 - gone) / 2 + 0.2 - gone)
        for call in calls:
            call.exception(timeout=30)
        stalled = pace.seconds_per_item
        assert stalled > 1e-4
        for _ in range(100):
            assert stub.Rank(known, timeout=30).unscored_count == 0
        assert pace.seconds_per_item < stalled / 2
        gate.open.set()


def queue_of(items, word):
    """A queue of prompts that no queue with another word has."""
    return request(*(item(str(n), f"{word} w{n % 58} w{n // 58}") for n in range(items)))
