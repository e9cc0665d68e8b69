"""Several workers read one queue: same scores, and what happens to one batch happens to no other."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from rankd_client.v1 import prediction_pb2 as pb
from support.gate import Gate
from support.hostile_rankers import endless, hungry
from support.tiny_ranker import make_artifact
from support.wire import ids, item, rank_stub, request

from rankd.registry.artifact import load_artifact
from rankd.training.evaluation.offline_ranker import OfflineRanker

PROMPTS = [f"long w{n % 58} w{n // 58} {'short ' * (n % 7)}" for n in range(200)]
MINUTE = 60.0


@pytest.fixture(params=[1, 2, 4])
def workers(request):
    return request.param


def asked(daemon, prompts, seconds=MINUTE):
    """What the ranker in service says of prompts."""

    async def ask():
        return await daemon.scorer.score(prompts, daemon.loop.time() + seconds)

    return daemon.run(ask())


def test_the_same_scores(start_daemon, tiny, workers):
    """Of long and short queues at once, by the thread that happens to be free."""
    daemon = start_daemon(scoring={"workers": workers})
    expected = OfflineRanker(load_artifact(tiny)).scores(PROMPTS).tolist()
    with ThreadPoolExecutor(8) as pool:
        parts = [PROMPTS[start : start + 25] for start in range(0, 200, 25)]
        found = [scored.score for part in pool.map(lambda part: asked(daemon, part), parts) for scored in part]
    assert found == pytest.approx(expected, abs=1e-5)
    assert daemon.scorer.runner.workers == workers
    assert (daemon.scorer.queued_prompts, daemon.scorer.queued_tokens) == (0, 0)


def test_one_call_is_read_by_all(start_daemon, workers):
    """A queue that comes to idle workers is divided among them."""
    daemon = start_daemon(scoring={"workers": workers})
    threads = set()
    together = threading.Barrier(workers)
    model = daemon.scorer.runner.model

    class Meeting(Gate):
        def _hold(self, ids):
            if threading.get_ident() not in threads:
                threads.add(threading.get_ident())
                together.wait(MINUTE)  # no thread reads a second batch before each has its first
            super()._hold(ids)

    gate = Meeting(daemon)
    assert all(scored.score > -99 for scored in asked(daemon, PROMPTS[:32]))
    assert len(threads) == workers
    assert sum(gate.batches) == 32
    assert len(gate.batches) >= workers
    assert model is not daemon.scorer.runner.model


def test_a_batch_that_hangs_leaves_the_others(start_daemon, tmp_path, wait_until):
    """It alone is given up; meanwhile calls are served, and the ranker is not said to be stuck."""
    ranker = endless(tmp_path / "r", word="w50")
    daemon = start_daemon(ranker=ranker, scoring={"workers": 2, "max_batch_seconds": 1e6}, guard={"max_latency": 1e6})
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        hangs = stub.Rank.future(request(item("h", "w50 long")), timeout=MINUTE)
        wait_until(lambda: daemon.call(lambda: list(daemon.scorer.runner.model._running)))
        for n in range(20):
            assert stub.Rank(request(item("a", f"w1 w{n}"), item("b", f"w2 w{n}")), timeout=MINUTE).unscored_count == 0
        assert daemon.call(lambda: daemon.scorer.runner.stalled_for) == 0
        assert not hangs.done()
        daemon.call(daemon.scorer.runner.give_up_after, 0.0)
        answer = hangs.result()
        assert (ids(answer), answer.reason) == (["h"], pb.FALLBACK_REASON_RANKER_UNAVAILABLE)
        assert stub.Rank(request(item("c", "w3 long")), timeout=MINUTE).unscored_count == 0
    counts = daemon.scorer.runner.counts
    assert (counts.failed_batches, counts.scored) == (1, 41)


def test_a_batch_that_fails_leaves_the_others(start_daemon, tmp_path, wait_until):
    """One that wants more memory than there is fails while another one is read."""
    ranker = hungry(tmp_path / "r", "w50", 2**46)
    daemon = start_daemon(ranker=ranker, scoring={"workers": 2})
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        bad = stub.Rank.future(request(item("h", "w50 long")), timeout=MINUTE)
        good = stub.Rank.future(request(item("g", "w1 long")), timeout=MINUTE)
        wait_until(lambda: len(gate.batches) == 2)
        gate.open.set()
        assert bad.result().reason == pb.FALLBACK_REASON_RANKER_UNAVAILABLE
        assert good.result().unscored_count == 0
    assert daemon.scorer.runner.counts.failed_batches == 1


def test_a_shadow_has_one_worker(start_daemon, tmp_path):
    """At the lowest priority; where it is promoted it has all of them, and nothing that was asked is lost."""
    daemon = start_daemon(scoring={"workers": 4})
    registry = daemon.app.registry
    candidate = daemon.run(registry.load(make_artifact(tmp_path / "other", name="other", scale=2.0)))
    assert candidate.scorer.runner.workers == 4
    shadow = daemon.call(daemon.app.shadows.start, candidate)
    assert candidate.scorer.runner.workers == 1

    async def promote_while_it_reads():
        reading = [candidate.scorer.score(PROMPTS[n : n + 20], daemon.loop.time() + MINUTE) for n in range(0, 200, 20)]
        (*results, _) = await asyncio.gather(*reading, stop_soon())
        return [scored.score for part in results for scored in part]

    async def stop_soon():
        daemon.app.shadows.stop(candidate.version)
        registry.promote(candidate.version)

    found = daemon.run(promote_while_it_reads())
    assert daemon.scorer is candidate.scorer
    assert daemon.scorer.runner.workers == 4
    expected = OfflineRanker(load_artifact(tmp_path / "other")).scores(PROMPTS).tolist()
    assert found == pytest.approx(expected, abs=1e-5)
    assert shadow.ranker is candidate


def test_the_daemon_stops_while_all_workers_hang(start_daemon, tmp_path, wait_until):
    """As it does while one does: every batch is ended."""
    ranker = endless(tmp_path / "r", word="w50")
    daemon = start_daemon(ranker=ranker, scoring={"workers": 2}, drain_timeout=0.1, drain_delay=0.0)
    model = daemon.scorer.runner.model
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        calls = []
        for n in range(2):
            calls.append(stub.Rank.future(request(item("h", f"w50 w{n}")), timeout=MINUTE))
            wait_until(lambda n=n: len(model._running) == n + 1)
        daemon.stop()
        wait_until(lambda: not model._running)
        for call in calls:
            call.exception(MINUTE)


def test_a_ranker_is_unloaded_while_its_workers_read(start_daemon, tmp_path, wait_until):
    """Calls that began with it end with it, in all its workers; then it is gone."""
    daemon = start_daemon(scoring={"workers": 2})
    other = daemon.run(daemon.app.registry.load(make_artifact(tmp_path / "other", name="other", scale=2.0)))
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        call = stub.Rank.future(request(*(item(str(n), p) for n, p in enumerate(PROMPTS[:40]))), timeout=MINUTE)
        wait_until(lambda: len(gate.batches) == 2)
        leaving = daemon.scorer
        daemon.call(daemon.app.registry.promote, other.version)
        daemon.call(daemon.app.registry.unload, "tiny@1.0.0")
        gate.open.set()
        assert call.result().unscored_count == 0
    wait_until(lambda: not daemon.app.registry._leaving)
    assert leaving.queued_prompts == 0
