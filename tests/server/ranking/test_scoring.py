"""Deadlines, overload, callers that leave, models that fail: what becomes of prompts and of calls."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import grpc
import pytest
from rankd_client.v1 import prediction_pb2 as pb
from rankd_client.v1 import quality_pb2
from support.gate import Gate
from support.tiny_ranker import make_artifact
from support.wire import ids, item, quality_stub, rank_stub, request

IN_TIME = {"deadline_margin": 4.0}
"""Answers leave seconds before the deadline: who fails to be in time by less was held up by something else."""
SOON = 7.9
"""A deadline of which half is waited, which makes a call urgent; the other half is the margin."""


@pytest.fixture(params=[1, 2, 4])
def gated(start_daemon, request):
    """A daemon with so many workers."""
    daemon = start_daemon(scoring={"nice": 0, "workers": request.param} | IN_TIME)
    gate = Gate(daemon)
    yield daemon, gate
    gate.open.set()


def fill(daemon, gate, stub, wait_until):
    """Calls with a prompt for each worker, one after the other, held at the gate."""
    calls = []
    for n in range(daemon.scorer.runner.workers):
        calls.append(stub.Rank.future(request(item(str(n), f"long w{n}")), timeout=20))
        wait_until(lambda n=n: gate.batches == [1] * (n + 1))
    return calls


def test_too_late_is_fcfs_and_then_ranked(gated, wait_until):
    """A call answers before its deadline in arrival order; its prompts stay queued, so the next call is ranked."""
    daemon, gate = gated
    gate.open.clear()
    queue = request(item("a", "long long"), item("b", "short"))
    with daemon.channel() as channel:
        late = rank_stub(channel).Rank(queue, timeout=SOON)
        assert (ids(late), late.policy, late.reason) == (["a", "b"], pb.POLICY_FCFS, pb.FALLBACK_REASON_DEADLINE)
        assert [i.serving_key % 1000 for i in late.items] == [0, 0]
        gate.open.set()
        wait_until(lambda: daemon.scorer.queued_prompts == 0)
        read = gate.prompts_read
        ranked = rank_stub(channel).Rank(queue, timeout=30)
    assert ids(ranked) == ["b", "a"]
    assert gate.prompts_read == read == 2


def test_the_wait_for_the_model_is_measured(gated, wait_until):
    """Stage `queue` is the time from admission until a worker begins, behind the batches before; once per batch."""
    daemon, gate = gated
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        began = time.monotonic()
        calls = fill(daemon, gate, stub, wait_until)
        calls.append(stub.Rank.future(request(item("b", "w2"), item("c", "w3")), timeout=20))
        wait_until(lambda: daemon.scorer.queued_prompts == len(calls) + 1)
        time.sleep(0.3)
        gate.open.set()
        assert [call.result().unscored_count for call in calls] == [0] * len(calls)
        most = time.monotonic() - began
    page = urlopen(daemon.http + "/metrics").read().decode().splitlines()
    name = "rankd_stage_duration_seconds"
    waited, batches = (
        float(next(x for x in page if x.startswith(f"{name}_{kind}") and 'stage="queue"' in x).split()[-1])
        for kind in ("sum", "count")
    )
    assert batches == len(gate.batches)
    assert 0.3 <= waited < most * batches


def test_what_cannot_be_read_in_time_is_not_waited_for(gated, wait_until):
    """With more asked than the model can read, an answer comes at once; the prompts are read later, for the cache."""
    daemon, gate = gated
    gate.seconds_per_token = 0.01
    crowd = request(*(item(f"c{n}", f"crowd {n}") for n in range(60 * daemon.scorer.runner.workers)))
    one = request(item("x", "one more " * 25))
    with daemon.channel() as channel, ThreadPoolExecutor(1) as pool:
        rank_stub(channel).Rank(request(item("p", "pace")), timeout=30)
        busy = pool.submit(rank_stub(channel).Rank, crowd, timeout=1.9)
        wait_until(lambda: daemon.scorer.queued_prompts > 50)
        answer = rank_stub(channel).Rank(one, timeout=1.9)
        assert not busy.done(), "it waited while others were read"
        assert (ids(answer), answer.reason) == (["x"], pb.FALLBACK_REASON_DEADLINE)
        scored = [i.HasField("prediction") for i in busy.result().items]
        assert 0 < sum(scored) < len(scored)  # as many as there was time for
        gate.seconds_per_token = 0.0
        wait_until(lambda: daemon.scorer.queued_prompts == 0)
        assert rank_stub(channel).Rank(one, timeout=30).unscored_count == 0


def test_a_prompt_is_scored_once(gated, wait_until):
    """Calls for the same prompts, at once and later, share one reading by the model."""
    daemon, gate = gated
    gate.open.clear()
    queue = request(item("a", "long w1"), item("b", "long w1"), item("c", "short w2"))
    with daemon.channel() as channel, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(rank_stub(channel).Rank, queue, timeout=10) for _ in range(8)]
        wait_until(lambda: daemon.scorer.callers == 8)
        gate.open.set()
        answers = [call.result() for call in calls]
        answers.append(rank_stub(channel).Rank(queue, timeout=10))
    assert all(ids(a) == ["c", "a", "b"] for a in answers)
    assert gate.prompts_read == 2


def test_cancelled_calls_leave_no_work(gated, wait_until):
    """The prompts of a caller that went away are dropped, but not those that another call waits for."""
    daemon, gate = gated
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        stay = fill(daemon, gate, stub, wait_until)
        workers = len(stay)
        for n in range(workers):  # lined up for when a worker is free
            stay.append(stub.Rank.future(request(item("b", f"w3 w{n}")), timeout=20))
            wait_until(lambda: daemon.scorer.queued_prompts == len(stay))
        new = (item(str(i), f"w4 w{i}") for i in range(20))
        leaves = stub.Rank.future(request(*new, item("b", "w3 w0")), timeout=20)
        wait_until(lambda: daemon.scorer.queued_prompts == len(stay) + 20)
        leaves.cancel()
        wait_until(lambda: daemon.scorer.queued_prompts == len(stay), what="dropping the cancelled prompts")
        gate.open.set()
        assert [ids(call.result()) for call in stay] == [[str(n)] for n in range(workers)] + [["b"]] * workers
    assert gate.prompts_read == len(stay)


def test_a_full_queue_says_overloaded_and_late_work_yields(start_daemon, wait_until):
    """Beyond the limit items come back OVERLOADED at once; prompts nobody waits for any more make room for new ones."""
    daemon = start_daemon(scoring={"max_queued_prompts": 8, "nice": 0} | IN_TIME)
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        full = stub.Rank.future(request(*(item(str(i), f"w{i}") for i in range(8))), timeout=20)
        wait_until(lambda: daemon.scorer.queued_prompts == 8)
        over = stub.Rank(request(item("a", "w20 w20"), item("b", "w21")), timeout=20)
        assert (ids(over), over.reason) == (["a", "b"], pb.FALLBACK_REASON_OVERLOADED)
        assert {i.reason for i in over.items} == {pb.FALLBACK_REASON_OVERLOADED}
        full.cancel()
        wait_until(lambda: daemon.scorer.queued_prompts <= 8)
        late = stub.Rank(request(*(item(str(i), f"w30 w{i}") for i in range(8))), timeout=SOON)
        assert late.unscored_count == 8
        fresh = stub.Rank.future(request(item("new", "w40")), timeout=20)
        wait_until(lambda: daemon.scorer.callers == 1)
        gate.open.set()
        assert fresh.result().unscored_count == 0
        wait_until(lambda: daemon.scorer.queued_prompts == 0)
    assert daemon.scorer.queued_tokens == 0


def test_a_failing_batch_fails_its_own(gated):
    """Its items come back unscored with the reason; the next call is served as if nothing had been."""
    daemon, gate = gated
    gate.fail = True
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        bad = stub.Rank(request(item("b", "w1"), item("a", "w2")), timeout=30)
        assert (ids(bad), bad.reason) == (["a", "b"], pb.FALLBACK_REASON_RANKER_UNAVAILABLE)
        gate.fail = False
        good = stub.Rank(request(item("b", "long"), item("a", "short")), timeout=30)
        assert (ids(good), good.unscored_count) == (["a", "b"], 0)
    assert daemon.scorer.runner.counts.failed_batches >= 1


def test_one_nan_costs_one_item(start_daemon, tmp_path):
    """A prompt whose score is NaN is unscored; its neighbours in the batch are not."""
    daemon = start_daemon(ranker=make_artifact(tmp_path / "r", nan_word="w9"))
    with daemon.channel() as channel:
        answer = rank_stub(channel).Rank(request(item("a", "w9"), item("b", "long"), item("c", "short")), timeout=30)
    reasons = {i.request_id: i.reason for i in answer.items}
    assert reasons == {"a": pb.FALLBACK_REASON_RANKER_UNAVAILABLE, "b": 0, "c": 0}


def test_guard_stops_ranking_with_a_failing_model_and_returns(start_daemon, wait_until):
    """Failing batches end ranking at once; scoring goes on in the shadow, and when it succeeds ranking returns."""
    daemon = start_daemon(guard={"dwell": 0.2, "dwell_max": 0.2, "recover_successes": 3, "max_consecutive_failures": 3})
    gate = Gate(daemon)
    serial = iter(range(10**6))

    def ask(channel):
        n = next(serial)
        return rank_stub(channel).Rank(
            request(item("a", f"long w{n % 58} w{n // 58}"), item("b", f"short w{n % 58} w{n // 58}")), timeout=30
        )

    with daemon.channel() as channel:
        assert ask(channel).policy == pb.POLICY_BOOST
        gate.fail = True
        wait_until(lambda: ask(channel) and not daemon.app.monitor.trust("", "tiny@1.0.0").ranks)
        answer = ask(channel)
        assert (answer.policy, answer.reason) == (pb.POLICY_FCFS, pb.FALLBACK_REASON_RANKER_UNAVAILABLE)
        (told,) = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=30).policies
        assert (told.policy, told.reason) == (answer.policy, answer.reason)
        gate.fail = False
        wait_until(lambda: ask(channel).policy == pb.POLICY_BOOST)
        assert ids(ask(channel)) == ["b", "a"]


def test_a_hanging_model_is_noticed(gated, wait_until, monkeypatch):
    """Batches that never end, in all workers, are evidence: calls stop waiting for them."""
    daemon, gate = gated
    monkeypatch.setattr("rankd.daemon._STUCK", 0.5)
    gate.open.clear()
    with daemon.channel() as channel:
        fill(daemon, gate, rank_stub(channel), wait_until)
        wait_until(lambda: not daemon.app.monitor.trust("", "tiny@1.0.0").worth_waiting)
        answer = rank_stub(channel).Rank(request(item("b", "w2")), timeout=3600)  # whoever waits, waits for too long
        assert answer.policy == pb.POLICY_FCFS


def test_deadlines_are_met_while_the_model_is_busy(start_daemon, tmp_path):
    """With long batches running, a call with a short deadline is answered within it, ranked or not."""
    daemon = start_daemon(ranker=make_artifact(tmp_path / "slow", work=300), scoring=IN_TIME)
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        bulk = stub.Rank.future(request(*(item(str(i), f"w{i % 58} " * (i % 30 + 1)) for i in range(300))), timeout=60)
        for n in range(4):
            try:
                assert len(stub.Rank(request(item("x", f"w{n} long")), timeout=SOON).items) == 1
            except grpc.RpcError as error:
                pytest.fail(f"call {n}: {error.code()}")
        assert not bulk.done()
        bulk.cancel()


def test_long_prompts_keep_head_and_tail(daemon):
    """Words at both ends of a long prompt count, words in the middle do not."""
    filler = "w1 " * 400
    with daemon.channel() as channel:
        answer = rank_stub(channel).Rank(
            request(
                item("head", "long " + filler),
                item("middle", filler + "long " * 50 + filler),
                item("tail", filler + " short"),
            ),
            timeout=30,
        )
    scores = {i.request_id: i.prediction.score for i in answer.items}
    assert scores["head"] > scores["middle"] > scores["tail"]
