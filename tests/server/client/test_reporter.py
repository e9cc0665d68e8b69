"""What rankd-vllm reports of completions, against a real daemon."""

import threading
import time

import pytest
from rankd_client import Completed, RankClient, ReportResult
from rankd_client.integration.prediction_store import PredictionStore, StoredPrediction
from rankd_client.integration.reporter import FinishedRequest, Reporter
from rankd_client.v1.prediction_pb2 import Prediction


def remembered(client, text, *, ignore_eos=False):
    """What the middleware remembers of a prompt."""
    (ranked,) = client.rank([text], timeout=30.0)
    return StoredPrediction(ranked.request_id, ranked.prediction, time.time(), ignore_eos)


def finished(engine_id, tokens=10, reason="stop", **more):
    return FinishedRequest(
        engine_id,
        tokens,
        reason,
        **({"max_tokens": 10, "queue_seconds": 0.5, "total_seconds": 2.0} | more),
    )


class Kept:
    """A client that keeps what it is given, and reports it to a daemon."""

    def __init__(self, client):
        self.client, self.completed = client, []

    def report(self, completions, *, timeout):
        result = self.client.report(completions, timeout=timeout)
        if not result.error:
            self.completed += completions
        return result


def test_only_what_was_cut_short_is_censored(start_daemon, wait_until):
    """A length stop is a lower bound, unless the request ran with ignore_eos to its maximum."""
    daemon = start_daemon()
    predictions = PredictionStore()
    with RankClient(daemon.target) as client:
        kept = Kept(client)
        reporter = Reporter(predictions, lambda: kept)
        rows = {"a": (True, "length", 10), "b": (False, "length", 10), "c": (True, "length", 7), "d": (True, "stop", 3)}
        for engine_id, (ignore_eos, _, _) in rows.items():
            predictions.put(engine_id, remembered(client, "short", ignore_eos=ignore_eos))
        for engine_id, (_, reason, tokens) in rows.items():
            reporter.put(finished(engine_id, tokens, reason))
        reporter.put(finished("unknown"))
        wait_until(lambda: len(kept.completed) == 4)
        assert [c.length_is_complete for c in kept.completed] == [True, False, False, False]
        assert {(c.queue_seconds, c.total_seconds) for c in kept.completed} == {(0.5, 2.0)}
        assert client.quality().qualities[0].completions == 4
        assert len(predictions) == 0
        reporter.close()


def test_prompts_are_told_as_the_engine_counted_them(reported_daemon, wait_until):
    """What is learned of costs is learned of those."""
    with RankClient(reported_daemon.target, timeout=30) as client:
        store, kept = PredictionStore(), Kept(client)
        store.put("a", remembered(client, "short"))
        reporter = Reporter(store, lambda: kept)
        reporter.put(finished("a", prompt_tokens=700, cached_prompt_tokens=640))
        wait_until(lambda: kept.completed)
        reporter.close()
    (done,) = kept.completed
    assert (done.prompt_tokens, done.cached_prompt_tokens) == (700, 640)


def test_an_id_that_comes_with_the_answer_is_waited_for(reported_daemon, wait_until):
    """The engine tells the end of a response before its first byte is out: the report waits for the id."""
    predictions = PredictionStore()
    with RankClient(reported_daemon.target) as client:
        kept = Kept(client)
        reporter = Reporter(predictions, lambda: kept)
        reporter.put(finished("resp_1_0"))
        time.sleep(0.5)
        predictions.put("resp_1_0", remembered(client, "short"))
        wait_until(lambda: len(kept.completed) == 1)
        reporter.close()


def test_reports_survive_a_restart_of_the_daemon(start_process, wait_until):
    """What ends while the daemon is gone is reported when it is back, once."""
    process = start_process()
    predictions = PredictionStore()
    with RankClient(process.target) as client:
        entry = remembered(client, "short")
        process.kill()
        kept = Kept(client)
        reporter = Reporter(predictions, lambda: kept)
        predictions.put("a", entry)
        reporter.put(finished("a"))
        time.sleep(0.6)
        assert not kept.completed
        start_process(port=process.port)
        wait_until(lambda: len(kept.completed) == 1)
        assert client.quality().qualities[0].completions == 1
        reporter.close()


def test_progress_pushes_no_completion_out(wait_until):
    """While the daemon is gone: what ended is kept, and what was said of progress is old once it is back."""
    taken, back = [], []

    class Away:
        def report(self, completions, *, timeout):
            del timeout
            if back:
                taken.extend(completions)
            return ReportResult(len(completions), 0, (), 0, "" if back else "gone")

    reporter = Reporter(PredictionStore(), Away, capacity=1000)
    for number in range(100):
        reporter.put(Completed(f"done-{number}", Prediction(), 5, finish_reason="stop"))
    for _ in range(10):
        for number in range(200):
            reporter.put(Completed(f"runs-{number}", Prediction(), 5, finish_reason="in_progress"))
        wait_until(lambda: not reporter._inbox.qsize())
        time.sleep(0.25)
    back.append(True)
    wait_until(lambda: len(taken) >= 100)
    assert [c.request_id for c in taken if c.finish_reason == "stop"] == [f"done-{n}" for n in range(100)]
    reporter.close()


@pytest.mark.timeout(60)
def test_the_engine_never_waits():
    """With a client that hangs until all are handed over, those beyond the capacity are dropped."""
    predictions, released = PredictionStore(), threading.Event()

    class Hanging:
        def report(self, *_, **__):
            released.wait()
            raise RuntimeError

    reporter = Reporter(predictions, Hanging, capacity=1000)
    for _ in range(20_000):
        reporter.put(finished("x"))
    assert reporter._inbox.qsize() <= 1000
    released.set()
    reporter.close(0.01)


def test_memory_is_bounded(reported_daemon):
    """The oldest prediction makes room for the newest."""
    predictions = PredictionStore(capacity=3)
    with RankClient(reported_daemon.target) as client:
        entry = remembered(client, "short")
    for number in range(10):
        predictions.put(str(number), entry)
    assert len(predictions) == 3
    assert predictions.take("0") is None
    assert predictions.take("9") is entry
