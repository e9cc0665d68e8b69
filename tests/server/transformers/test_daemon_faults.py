"""rankd inside transformers while the daemon is absent, killed, frozen, somebody else, or back: nobody is lost."""

import functools
import logging
import signal
import time

import pytest
from rankd_client.integration import background_scores as scores
from support.ports import free_ports
from support.tiny_ranker import make_artifact
from support.transformers_engine import EOS, MODEL, Ended, Engine, prompt, registered, scored, tokens_of

LONGS = [3, 9, 1, 7, 0, 5, 8, 2, 6, 4] * 3
LENGTHS = {f"r{n}": 4 + 4 * k for n, k in enumerate(LONGS)}


@pytest.fixture(autouse=True)
def short_hold(monkeypatch):
    """Rules hold for 1.5 s without word from the daemon instead of 10."""
    monkeypatch.setattr(scores, "_RULES_HOLD", 1.5)


def send(engine, prefix="r", only=None):
    """The workload, all at once."""
    for n, k in enumerate(LONGS[:only]):
        engine.add(f"{prefix}{n}", prompt(k, n), 500, EOS)


@functools.cache
def fifo():
    """What transformers' own scheduler does."""
    with Ended(LENGTHS):
        engine = Engine(MODEL, "fifo")
        send(engine)
        engine.run()
    return engine


def assert_whole(engine):
    """All is done, with every token."""
    assert {r: len(tokens) for r, tokens in tokens_of(engine).items()} == LENGTHS
    assert tokens_of(engine) == tokens_of(fifo())
    assert not len(engine.scheduler._ranking)


def test_without_a_daemon_the_run_is_transformers_own_to_the_iteration(caplog):
    """Absent from start to end: each request finishes in the very iteration in which it would without rankd."""
    name, registration = registered("127.0.0.1:1")
    with caplog.at_level(logging.DEBUG, "rankd_client"), Ended(LENGTHS):
        engine = Engine(MODEL, name)
        send(engine)
        engine.run()
    assert engine.finished == fifo().finished
    assert_whole(engine)
    counts = registration.counts()
    assert counts["started"] == {"arrival_order": len(LONGS)}
    assert sum(counts["scores"].values()) >= 1, "the lost benefit is counted"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_daemon_that_dies_in_the_middle_costs_nothing_but_its_order(start_process, monkeypatch, number):
    """After its death the scores that came are used as long as its rules hold; then it is arrival order."""
    monkeypatch.setattr(scores, "_RULES_HOLD", 3600.0)
    process = start_process()
    name, _ = registered(process.target)

    def later():
        monkeypatch.setattr(scores, "_RULES_HOLD", 0.0)

    with Ended(LENGTHS):
        engine = Engine(MODEL, name)
        send(engine)
        scored(engine, len(LONGS))
        engine.run(at={2: lambda: process.process.send_signal(number), 30: later})
    process.process.send_signal(signal.SIGCONT)
    assert_whole(engine)
    starts = sorted(LENGTHS, key=lambda r: (engine.first[r], LENGTHS[r]))
    began = [r for r in starts if engine.first[r] <= 30]
    assert [LENGTHS[r] for r in began] == sorted(LENGTHS.values())[: len(began)]
    rest = [n for n in range(len(LONGS)) if engine.first[f"r{n}"] > 34]
    assert len(rest) > 4
    times = [engine.first[f"r{n}"] for n in rest]
    assert times == sorted(times), "without rules it is arrival order"


def test_a_daemon_that_comes_late_or_comes_back_ranks_within_seconds(start_daemon, tmp_path):
    """Not there at first, then there, gone, and back with another ranker: the benefit returns each time."""
    (port,) = free_ports(1)
    name, registration = registered(f"127.0.0.1:{port}")

    def ranked():
        return registration.counts()["started"].get("ranked", 0)

    engine = Engine(MODEL, name, slots=1)
    other = make_artifact(tmp_path / "other", version="2.0.0", scale=2.0)
    sent = 0
    with Ended({f"t{n}": 4 for n in range(10_000)}):
        for more in ({}, {"ranker": other}):
            daemon, began, before = start_daemon(listen=f"127.0.0.1:{port}", **more), time.monotonic(), ranked()
            while ranked() == before:
                assert time.monotonic() - began < 60, "the benefit does not return"
                engine.add(f"t{sent}", prompt(sent % 10, sent % 500), 500, EOS)
                sent += 1
                engine.step()
            daemon.stop()
            time.sleep(1.6)
        engine.run()
    assert len(engine.outputs) == sent


def test_somebody_else_at_the_address_is_no_daemon(daemon):
    """An HTTP server answers garbage: arrival order, all tokens."""
    name, registration = registered(daemon.http.removeprefix("http://"))
    with Ended(LENGTHS):
        engine = Engine(MODEL, name)
        send(engine)
        engine.run()
    assert engine.finished == fifo().finished
    assert_whole(engine)
    assert registration.counts()["started"] == {"arrival_order": len(LONGS)}
