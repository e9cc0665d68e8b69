"""rankd inside transformers' continuous batching: the order, by a real engine that is stepped by hand."""

import contextlib
import random
import threading
import time

import pytest
from rankd_transformers.ranking import EngineRanking
from support.transformers_engine import (
    EOS,
    MODEL,
    OTHER,
    Ended,
    Engine,
    double_buffered_on_a_cpu,
    prompt,
    registered,
    scored,
    tokens_of,
)

FOREVER = {"policy": "score", "patience_backlog_share": 0}


def workload(count=30, seed=1, per_long=6):
    """Prompts by name, and the lengths of their answers; the more longs, the longer."""
    random_ = random.Random(seed)
    longs = [random_.randrange(10) for _ in range(count)]
    lengths = {f"r{n}": 4 + per_long * k for n, k in enumerate(longs)}
    return {f"r{n}": prompt(k, n) for n, k in enumerate(longs)}, lengths


@pytest.fixture(scope="module")
def ranked(reported_daemon):
    """A scheduler type of the shared daemon."""
    return registered(reported_daemon.target)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def use_async_batching(request):
    """Both ways in which transformers schedules."""
    with double_buffered_on_a_cpu() if request.param else contextlib.nullcontext():
        yield request.param


def send(engine, prompts):
    """All at once; the most that is allowed tells nobody how long an answer gets."""
    for name, tokens in prompts.items():
        engine.add(name, tokens, 500, EOS)


def finished_by(scheduler, prompts, lengths, **config):
    """An engine that has served all of them, with all scores there from the start."""
    with Ended(lengths):
        engine = Engine(MODEL, scheduler, **config)
        send(engine, prompts)
        if scheduler != "fifo":
            scored(engine, len(prompts))
        engine.run()
    assert {r: len(tokens) for r, tokens in tokens_of(engine).items()} == lengths
    return engine


def mean(engine):
    """Iterations until a request is done."""
    return sum(engine.finished.values()) / len(engine.finished)


def test_the_shortest_expected_go_first_and_no_token_changes(ranked, use_async_batching):
    """All scores there: who waits starts by the ranker's order; each answer is what the untouched engine gives."""
    name, registration = ranked
    prompts, lengths = workload()
    plain = finished_by("fifo", prompts, lengths, use_async_batching=use_async_batching)
    before = registration.counts()["started"].get("ranked", 0)
    engine = finished_by(name, prompts, lengths, use_async_batching=use_async_batching)
    starts = sorted(lengths, key=lambda r: (engine.first[r], lengths[r]))
    assert [lengths[r] for r in starts] == sorted(lengths.values())
    assert tokens_of(engine) == tokens_of(plain)
    assert mean(engine) < 0.75 * mean(plain)
    assert registration.counts()["started"]["ranked"] == before + len(prompts)
    assert not len(engine.scheduler._ranking), "requests that are gone are remembered"


def test_the_same_run_is_the_same(ranked):
    """Nothing depends on the clock: two runs finish everything in the same iterations."""
    prompts, lengths = workload(seed=5)
    runs = [finished_by(ranked[0], prompts, lengths).finished for _ in range(2)]
    assert runs[0] == runs[1]


def test_on_memory_shortage_the_last_by_the_ranker_makes_room(ranked, use_async_batching):
    """Whoever is preempted is expected to take longest of all that run; all finish with every token."""
    prompts, lengths = workload(per_long=12)
    config = {"slots": 8, "num_blocks": 14, "use_async_batching": use_async_batching}
    with Ended(lengths):
        engine = Engine(MODEL, ranked[0], **config)
        send(engine, prompts)
        scored(engine, len(prompts))
        preempted = {}
        finish = engine.scheduler.finish_request

        def noted(name):
            running = set(engine.scheduler.active_requests)
            finish(name)
            if (record := engine.scheduler._ranking._records.get(name)) is not None and record.preempted:
                preempted.setdefault(engine.iterations, (running, set()))[1].add(name)

        engine.scheduler.finish_request = noted
        engine.run()
    assert {r: len(tokens) for r, tokens in tokens_of(engine).items()} == lengths
    assert len(preempted) >= 8, "nothing was preempted: this says nothing"
    for running, victims in preempted.values():
        assert min(lengths[r] for r in victims) >= max(lengths[r] for r in running - victims)
    plain = finished_by("fifo", prompts, lengths, **config)
    assert tokens_of(engine) == tokens_of(plain)
    assert mean(engine) < mean(plain)


def test_shared_prefixes_are_ranked_too(ranked):
    """Prompts that begin with the same blocks start by another way in transformers; all finish, in order."""
    longs = [n % 7 for n in range(30)]
    prompts = {f"r{n}": [OTHER] * 40 + prompt(k, n) for n, k in enumerate(longs)}
    lengths = {f"r{n}": 4 + 6 * k for n, k in enumerate(longs)}
    engine = finished_by(ranked[0], prompts, lengths)
    assert engine.processor.cache.use_prefix_sharing
    assert tokens_of(engine) == tokens_of(finished_by("fifo", prompts, lengths, allow_block_sharing=False))
    assert mean(engine) < 0.8 * mean(finished_by("fifo", prompts, lengths))


def test_nobody_is_overtaken_for_ever(start_daemon):
    """With order.overtake_cap a long request starts after so many shorter ones that came later; without, last."""
    lengths = {"long": 20} | {f"short{n}": 4 for n in range(30)}
    prompts = {"long": prompt(9, 99)} | {f"short{n}": prompt(0, n) for n in range(30)}
    for cap, expected in ((5, 5), (0, 30)):
        name, _ = registered(start_daemon(order=FOREVER | {"overtake_cap": cap}).target)
        engine = finished_by(name, prompts, lengths, slots=1)
        assert sorted(engine.first, key=engine.first.__getitem__).index("long") == expected


def test_nobody_waits_beyond_the_wait_cap(start_daemon):
    """Under a stream of short requests that never ends, a long one starts once it has waited for order.wait_cap."""
    name, _ = registered(start_daemon(order=FOREVER | {"wait_cap": 5.0}).target)
    engine = Engine(MODEL, name, slots=1)
    with Ended({"long": 4} | {f"short{n}": 4 for n in range(5000)}):
        began, number = time.perf_counter(), 0
        engine.add("long", prompt(9, 99), 500, EOS)
        scored(engine, 1)
        while "long" not in engine.first and time.perf_counter() - began < 60:
            while len(engine.scheduler.waiting_requests) < 20:
                engine.add(f"short{number}", prompt(0, number % 2000), 500, EOS)
                number += 1
                engine.arrive()
            engine.step()
        waited = time.perf_counter() - began
    assert 5.0 < waited < 60
    assert len(engine.finished) > 5, "it was not overtaken at all"


def test_a_cancelled_request_is_forgotten(ranked):
    """One that waits and one that runs are taken back; the others finish."""
    prompts, lengths = workload(12)
    with Ended(lengths):
        engine = Engine(MODEL, ranked[0], slots=2)
        send(engine, prompts)
        scored(engine, len(prompts))
        engine.step()
        running = next(iter(engine.scheduler.active_requests))
        waiting = next(iter(engine.scheduler.waiting_requests))
        for name in (running, waiting):
            engine.manager.cancel_request(name)
        engine.run()
    assert set(engine.finished) == set(prompts) - {running, waiting}
    assert not len(engine.scheduler._ranking)


def test_a_failure_of_ours_costs_the_order_only(ranked, monkeypatch, caplog):
    """Whatever hook fails, at whatever time: transformers' own order, every token, one warning for each."""
    prompts, lengths = workload(8, per_long=1)
    plain = finished_by("fifo", prompts, lengths)
    hooks = ["arrived", "prepare", "candidates", "started", "in_serving_order", "stopped", "clear"]
    for hook in hooks:
        with monkeypatch.context() as broken:
            broken.setattr(EngineRanking, hook, lambda *_: 1 / 0)
            with Ended(lengths):
                engine = Engine(MODEL, ranked[0])
                send(engine, prompts)
                engine.run()
        assert tokens_of(engine) == tokens_of(plain), hook
    assert caplog.text.count("could not be ordered") <= 2


def test_the_public_way_ranks_and_keeps_its_connections(reported_daemon, wait_until):
    """generate_batch with several answers a prompt, again and again: all answers, and no thread more each time."""
    name, registration = registered(reported_daemon.target)
    from transformers import ContinuousBatchingConfig, GenerationConfig

    before, kept = set(threading.enumerate()), set()

    def own():
        return {t for t in threading.enumerate() if t.name in {"rankd-scores", "rankd-rules"}} - before

    for _ in range(2):
        outputs = MODEL.generate_batch(
            [prompt(k % 4, k) for k in range(12)],
            generation_config=GenerationConfig(
                max_new_tokens=8, eos_token_id=-1, do_sample=True, num_return_sequences=2
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                scheduler_type=name, num_blocks=64, page_size=16, max_batch_tokens=64, max_requests_per_batch=4
            ),
        )
        assert [len(output.generated_tokens) for output in outputs.values()] == [8] * 24
        wait_until(lambda: len(own()) == 2, what="one that asks and one that watches")
        kept = kept or own()
        assert own() == kept
    assert sum(registration.counts()["started"].values()) >= 24
