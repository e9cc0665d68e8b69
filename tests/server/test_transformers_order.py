"""rankd inside transformers' continuous batching: the order, by a real engine that is stepped by hand."""

import random

import pytest
from transformers_engine import (
    EOS,
    MODEL,
    Ended,
    Engine,
    prompt,
    registered,
    scored,
    tokens_of,
)


def workload(count=40, seed=1):
    """Prompts by name, and the lengths of their answers; the more longs, the longer."""
    random_ = random.Random(seed)
    longs = [random_.randrange(10) for _ in range(count)]
    return {f"r{n}": prompt(k, n) for n, k in enumerate(longs)}, {f"r{n}": 4 + 6 * k for n, k in enumerate(longs)}


@pytest.fixture(scope="module")
def ranked(daemon):
    """A scheduler type of the shared daemon."""
    return registered(daemon.target)


def send(engine, prompts):
    """All at once; the most that is allowed tells nobody how long an answer gets."""
    for name, tokens in prompts.items():
        engine.add(name, tokens, 500, EOS)


def test_the_shortest_expected_go_first_and_no_token_changes(ranked):
    """All scores there: who waits starts by the ranker's order; each answer is what the untouched engine gives."""
    name, registration = ranked
    prompts, lengths = workload()
    with Ended(lengths):
        plain, engine = Engine(MODEL, "fifo"), Engine(MODEL, name)
        for one in (plain, engine):
            send(one, prompts)
        scored(engine, len(prompts))
        for one in (plain, engine):
            one.run()
    starts = sorted(lengths, key=lambda r: (engine.first[r], lengths[r]))
    assert [lengths[r] for r in starts] == sorted(lengths.values())
    assert {r: len(tokens) for r, tokens in tokens_of(engine).items()} == lengths
    assert tokens_of(engine) == tokens_of(plain)
    mean = {one: sum(one.finished.values()) / len(prompts) for one in (plain, engine)}
    assert mean[engine] < 0.75 * mean[plain]
    assert registration.counts()["started"]["ranked"] >= len(prompts)
