"""Scores and rules that rankd-vllm fetches for its scheduler, from a real daemon."""

import math
import signal
import socket
import time

import pytest
from rankd_client import Completed, RankClient
from rankd_client.integration import IntegrationSettings
from rankd_client.integration import background_scores as scores
from rankd_client.integration.background_scores import BackgroundScores
from rankd_client.ordering import Policy

WORDS = {1: "short", 2: "long"}


def text_of(ids):
    """A tokenizer of two words."""
    return " ".join(WORDS[i] for i in ids)


@pytest.fixture
def connected():
    """Makes Scores of a daemon, and closes them."""
    made = []

    def make(target, connect_text=lambda: text_of, model=""):
        made.append(BackgroundScores(IntegrationSettings(target=target, model=model), connect_text))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_arrives_is_scored_and_rules_come(connected, start_daemon, wait_until):
    """Each request gets its prediction, by the engine's id, and the daemon's policy is in force."""
    fetched = connected(start_daemon().target)
    now = time.time()
    ids = [fetched.add(f"e{n}", [1 + n % 2] * 3, now, 500) for n in range(300)]
    assert len(set(ids)) == 300
    wait_until(lambda: len(fetched.new_predictions) == 300)
    predictions = dict(fetched.new_predictions)
    assert set(predictions) == {f"e{n}" for n in range(300)}
    assert predictions["e0"].score < predictions["e1"].score
    wait_until(lambda: fetched.rules(time.monotonic()).policy is Policy.BOOST)
    rules = fetched.rules(time.monotonic())
    time.sleep(1.5)
    assert fetched.rules(time.monotonic()) is rules, "no change, no new object: the queue is not sorted anew"


def test_a_model_of_which_nothing_was_reported_is_ordered(connected, start_daemon, wait_until):
    """From the start, as every model is by a ranker with a measured tau, also where others have reported already."""
    daemon = start_daemon()
    with RankClient(daemon.target, model="old", timeout=30) as client:
        (ranked,) = client.rank(["short"])
        assert client.report([Completed(ranked.request_id, ranked.prediction, 7, finish_reason="stop")]).accepted == 1
        assert [policy.model for policy in client.quality().policies] == ["old"]
    fetched = connected(daemon.target, model="new")
    fetched.add("a", [1], time.time(), 1)
    wait_until(lambda: fetched.rules(time.monotonic()).policy is Policy.BOOST)


def test_a_daemon_that_fails_is_not_asked_at_every_change(connected, wait_until):
    """It is asked again after pauses that double, however much arrives and leaves meanwhile."""
    fetched = connected("127.0.0.1:1")
    began = time.monotonic()
    for _ in range(150):
        fetched.add("comes", [1], time.time(), 1)
        fetched.remove("comes")
        fetched.add("stays", [1], time.time(), 1)
        time.sleep(0.01)
    wait_until(lambda: sum(fetched.tally.counts().values()))
    pauses = math.log2(1 + (time.monotonic() - began) / 0.1)
    assert sum(fetched.tally.counts().values()) <= 2 + pauses, "at 0, .1, .3, .7 and 1.5 s, of 450 changes"


def test_one_prompt_over_a_limit_costs_the_others_nothing(connected, start_daemon, wait_until):
    """The daemon refuses a call for one of its prompts: that one is found and left out, all others get their scores."""
    daemon = start_daemon(limits={"max_prompt_bytes": 40})
    fetched = connected(daemon.target)
    for n in range(300):
        fetched.add(f"e{n}", [2] * (50 if n in {17, 250} else 1), time.time(), 1)
    wait_until(lambda: len(fetched.new_predictions) == 298)
    assert {engine_id for engine_id, _ in fetched.new_predictions}.isdisjoint({"e17", "e250"})
    assert fetched.tally.counts()["error:INVALID_ARGUMENT"] == 2


@pytest.mark.timeout(60)  # waiting for the daemon at each of them would take an hour
def test_handing_over_never_waits(connected):
    """With somebody at the address who never answers: arrival order, and nobody waits for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fetched = connected(f"127.0.0.1:{silent.getsockname()[1]}")
        fetched.add("first", [1], time.time(), 1)
        for n in range(2000):
            fetched.add(str(n), [1], time.time(), 1)
            fetched.rules(time.monotonic())
            fetched.remove(str(n))
        assert fetched.rules(time.monotonic()).policy is Policy.FCFS


def test_who_waited_for_the_daemon_is_scored_when_it_is_back(connected, start_process, wait_until):
    """Killed and started again: what arrived meanwhile is scored, what is gone is not."""
    process = start_process()
    fetched = connected(process.target)
    fetched.add("before", [1], time.time(), 1)
    wait_until(lambda: len(fetched.new_predictions) == 1)
    process.kill()
    for n in range(3):
        fetched.add(f"meanwhile{n}", [1], time.time(), 1)
    fetched.remove("meanwhile1")
    time.sleep(0.5)
    start_process(port=process.port)
    wait_until(lambda: len(fetched.new_predictions) == 3)
    assert {engine_id for engine_id, _ in fetched.new_predictions} == {"before", "meanwhile0", "meanwhile2"}


def test_rules_of_a_daemon_that_is_silent_expire(connected, start_process, wait_until, monkeypatch):
    """Frozen, it watches its ranker no more: arrival order after a while; thawed, its rules are back."""
    monkeypatch.setattr(scores, "_RULES_HOLD", 2.0)
    process = start_process()
    fetched = connected(process.target)
    fetched.add("a", [1], time.time(), 1)

    def policy():
        return fetched.rules(time.monotonic()).policy

    wait_until(lambda: policy() is Policy.BOOST)
    process.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: policy() is Policy.FCFS)
    finally:
        process.process.send_signal(signal.SIGCONT)
    wait_until(lambda: policy() is Policy.BOOST)


def test_a_daemon_that_is_gone_is_warned_of_once(connected, wait_until, monkeypatch, caplog):
    """As soon as pauses between tries grow no more, and not at every try."""
    monkeypatch.setattr(scores, "_LONGEST_PAUSE", 0.2)
    fetched = connected("127.0.0.1:1")
    fetched.start()
    wait_until(lambda: "does not answer" in caplog.text)
    time.sleep(0.5)
    assert caplog.text.count("does not answer") == 1


def test_a_prompt_without_text_costs_no_other_its_score(connected, daemon, wait_until):
    """A function of the user's that fails on one: the others are ranked."""
    fetched = connected(daemon.target)
    for engine_id, word in (("a", 1), ("b", 99), ("c", 2)):
        fetched.add(engine_id, [word], time.time(), 1)
    wait_until(lambda: len(fetched.new_predictions) == 2)
    assert {engine_id for engine_id, _ in fetched.new_predictions} == {"a", "c"}


def test_a_tokenizer_that_fails_costs_the_rank_only(connected, daemon, caplog):
    """One warning, no score, and the thread lives on."""

    def broken():
        raise OSError("no tokenizer")

    fetched = connected(daemon.target, broken)
    for n in range(3):
        fetched.add(str(n), [1], time.time(), 1)
        time.sleep(0.2)
    assert not fetched.new_predictions
    assert caplog.text.count("scores could not be asked for") <= 1
    assert fetched.rules(time.monotonic()) is not None
