"""What rankd-transformers tells the daemon of requests, and what it tells nobody."""

import logging
import random
import time

import numpy as np
import pytest
from rankd_client import RankClient
from rankd_client.integration import IntegrationSettings, PredictionStore, Reporter
from rankd_transformers import register
from scipy.stats import kendalltau
from support.transformers_engine import EOS, LONG, MODEL, Ended, Engine, prompt, registered, scored


class Kept:
    """A client that keeps what it is given, and reports it to a daemon."""

    def __init__(self, client):
        self.client, self.completed = client, []

    def report(self, completions, *, timeout):
        result = self.client.report(completions, timeout=timeout)
        if not result.error:
            self.completed += completions
        return result


@pytest.fixture
def kept(start_daemon):
    """A scheduler type of a daemon of its own, and what was reported to it."""
    daemon = start_daemon()
    name, registration = registered(daemon.target)
    with RankClient(daemon.target, timeout=30.0) as client:
        kept = Kept(client)
        registration._reports = Reporter(PredictionStore(), lambda: kept, registration._sent)
        yield name, kept
        registration.close()


def finals(kept):
    """Reports of those that ended."""
    return [c for c in kept.completed if c.finish_reason != "in_progress"]


def test_the_daemon_learns_what_happened(kept, wait_until):
    """Every completion arrives once; tau in the daemon is that of the run's own scores and lengths."""
    name, kept = kept
    random_ = random.Random(3)
    longs = [random_.randrange(8) for _ in range(80)]
    lengths = {f"r{n}": max(2, round(3 + 3 * k * random_.lognormvariate(0, 0.7))) for n, k in enumerate(longs)}
    with Ended(lengths):
        engine = Engine(MODEL, name, slots=8)
        for n, k in enumerate(longs):
            engine.add(f"r{n}", prompt(k, n), 500, EOS)
        scored(engine, 80)
        ranked = engine.scheduler._ranking
        scores = {ranked._request_ids[number]: prediction.score for number, prediction in ranked.scores.new_predictions}
        engine.run(at={10: lambda: time.sleep(1.2)})
    wait_until(lambda: len(finals(kept)) == 80)
    wait_until(lambda: kept.client.quality().qualities[0].window_size == 80)
    quality = kept.client.quality().qualities[0]
    assert quality.completions == 80
    own = kendalltau([scores[r] for r in lengths], list(lengths.values())).statistic
    assert 0.3 < own < 0.95
    assert abs(quality.finished_tau.value - own) < 0.01
    assert sorted(c.output_tokens for c in finals(kept)) == sorted(lengths.values())
    assert {c.finish_reason for c in finals(kept)} == {"stop"}
    assert quality.progress_seen
    progress = [c for c in kept.completed if c.finish_reason == "in_progress"]
    assert {c.output_tokens > 0 for c in progress} == {True}
    for c in finals(kept):
        assert 0 <= c.queue_seconds <= c.total_seconds < 60
        assert abs(c.arrival + c.total_seconds - time.time()) < 60
    waits = [c.queue_seconds for c in finals(kept)]
    assert np.quantile(waits, 0.9) - min(waits) > 1.0, "waiting is not told"


def test_prompts_and_what_was_cached_of_them_are_told(start_daemon, wait_until):
    """Counted by the engine's own cache; and who has a prompt cached goes before who has not, though it came later."""
    # Whatever a ranker says of such prompts, it is their length that decides.
    name, registration = registered(start_daemon(order={"policy": "score", "prompt_cost": 10}).target)
    with RankClient(registration.settings.target, timeout=30) as client:
        kept = Kept(client)
        registration._reports = Reporter(PredictionStore(), lambda: kept, registration._sent)
        prefix, other = [LONG] * 64, [LONG + 1] * 64
        engine = Engine(MODEL, name, slots=1)
        engine.add("first", [*prefix, 7], 4)
        scored(engine, 1)
        engine.run()
        engine.add("other", [*other, 8], 4)
        engine.add("same", [*prefix, 9], 4)
        scored(engine, 2)
        ended = engine.run()
        assert ended["same"] < ended["other"]
        wait_until(lambda: len(finals(kept)) == 3)
        counts = [(c.prompt_tokens, c.cached_prompt_tokens) for c in finals(kept)]
        registration.close()
    assert counts == [(65, 0), (65, 64), (65, 0)]


def test_only_what_was_cut_short_is_censored(kept, wait_until):
    """The end of the text ignored, the limit is the length; cut by it, it is a lower bound; and so on."""
    name, kept = kept
    engine = Engine(MODEL, name, slots=8)
    longs = {"ignored": 0, "cut": 1, "stopped": 2, "cancelled": 3, "failed": 4}
    with Ended({"stopped": 5}):
        for request_id, k in longs.items():
            most = 6 if request_id in {"ignored", "cut"} else 400
            engine.add(request_id, prompt(k, 1), most, -1 if request_id == "ignored" else EOS)
        scored(engine, len(longs))
        records = engine.scheduler._ranking._records
        ids = {records[request_id].ranked_id: request_id for request_id in longs}
        for _ in range(10):
            engine.step()
        engine.manager.cancel_request("cancelled")
        engine.step()
        engine.processor.fail_all_requests(RuntimeError("a device is gone"))
    wait_until(lambda: len(finals(kept)) == len(longs))
    told = {ids[c.request_id]: (c.finish_reason, c.output_tokens, c.length_is_complete) for c in finals(kept)}
    assert told == {
        "ignored": ("length", 6, True),
        "cut": ("length", 6, False),
        "stopped": ("stop", 5, False),
        "cancelled": ("cancelled", 10, False),
        "failed": ("aborted", 11, False),
    }


def test_a_preempted_request_is_told_of_once(kept, wait_until):
    """However often it makes room: one completion, with all its tokens, counted from when it first came."""
    name, kept = kept
    lengths = {f"r{n}": 60 + n for n in range(16)}
    with Ended(lengths):
        engine = Engine(MODEL, name, slots=8, num_blocks=14)
        began = time.time()
        for n in range(16):
            engine.add(f"r{n}", prompt(n % 8, n), 500, EOS)
        added = time.time()
        scored(engine, 16)
        came = []
        add = engine.scheduler.add_waiting_request
        engine.scheduler.add_waiting_request = lambda state: (came.append(state.request_id), add(state))
        engine.run()
    assert len(came) > 4, "nothing was preempted: this says nothing"
    wait_until(lambda: len(finals(kept)) == 16)
    assert sorted(c.output_tokens for c in finals(kept)) == sorted(lengths.values())
    assert {began - 0.2 <= c.arrival <= added + 0.2 for c in finals(kept)} == {True}
    assert len({c.request_id for c in finals(kept)}) == 16


def test_no_prompt_and_no_id_is_logged(start_daemon, wait_until, monkeypatch, caplog, capfd):
    """With a tokenizer that fails saying what it was given, without a daemon, and with one: nothing of it is said."""
    monkeypatch.setattr("rankd_client.integration.settings._warned", set())

    def broken(ids):
        raise ValueError(f"cannot read {list(ids)} of Ms Doe")

    settings = IntegrationSettings(target=start_daemon().target)
    cases = {
        "private1": (broken, settings),
        "private2": (lambda _: "Ms Doe", IntegrationSettings(target="127.0.0.1:1")),
    }
    with caplog.at_level(logging.DEBUG):
        for name, (reader, where) in cases.items():
            registration = register(reader, settings=where, name=name)
            engine = Engine(MODEL, name)
            engine.add("id-of-ms-doe", [LONG, 41, 42, 43, 44], 5)
            engine.run()
            assert len(engine.outputs) == 1
            if reader is broken:
                wait_until(lambda: "a prompt has no text" in caplog.text)
            registration.close()
    ours = "".join(r.getMessage() for r in caplog.records if not r.name.startswith(("ContinuousBatching", "hypo")))
    said = ours + capfd.readouterr().out
    assert "a prompt has no text" in said, said
    for private in ("ms-doe", "Ms Doe", "41, 42", "cannot read"):
        assert private not in said
