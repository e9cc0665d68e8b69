"""The simulated engine: the same as one that goes token by token, and nothing gets lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from support.engine_by_token import Reference, engines, random_trace, traces
from support.examples import examples
from support.traces import trace_of

from rankd.replay.engine.cost import (
    EngineCost,
    at_load,
    capacity,
    offered_load,
    step_cost,
    true_prompt_cost,
    usable_slots,
    work,
)
from rankd.replay.engine.engine import SimulatedEngine, run
from rankd.replay.policies.baselines import Boost, FixedKey, KeyOrder, ShortestRemaining
from rankd.replay.policies.by_name import POLICIES, simulate
from rankd.replay.policies.paper import PaperOrder
from rankd.replay.policies.uniboost import UniBoost
from rankd.settings import Settings

ORDERS = {
    "fcfs": KeyOrder,
    "sjf": lambda trace: FixedKey(trace, trace.output.astype(float)),
    "sjf, taking slots": lambda trace: FixedKey(trace, trace.output.astype(float), preemptive=True),
    "srpt": ShortestRemaining,
    "srpt, prompts count": lambda trace: ShortestRemaining(trace, 0.5),
    "uniboost": lambda trace: UniBoost(trace, EngineCost(), 1.0),
    "paper": lambda trace: PaperOrder(trace, -trace.output.astype(float), threshold=6, quantum=2),
    "unaware": lambda trace: Boost(trace, 1.0, recent=3),
}


SETTINGS = Settings(order={"slo": "99 % within 500 s"})


@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=examples(150), deadline=None)
@given(trace=traces(), cost=engines())
def test_events_equal_tokens(name, trace, cost):
    """Going from event to event gives exactly the times of going token by token, under every order and limit."""
    result = SimulatedEngine(trace, ORDERS[name](trace), cost).run()
    reference = Reference(trace, ORDERS[name](trace), cost)
    start, first, finish = reference.run()
    assert (result.start == start).all()
    assert (result.first_token == first).all()
    assert (result.finish == finish).all()
    assert result.preempted.tolist() == reference.preempted
    assert result.iterations == reference.iterations
    assert result.most_blocks == reference.most
    if cost.kv_tokens:
        assert result.most_blocks <= cost.blocks


@pytest.mark.parametrize("kv_tokens", [0, 2000])
@pytest.mark.parametrize("policy", POLICIES)
def test_everybody_is_served(policy, kv_tokens):
    """Under every policy each request starts, gets its tokens and ends in that order; memory is never exceeded."""
    trace = random_trace(1)
    cost = EngineCost(8, 1.0, 0.01, 0.001, 512, kv_tokens)
    result = simulate(trace, trace.output.astype(float), policy, cost, settings=SETTINGS).result
    assert (result.start >= trace.arrival - 1e-9).all()
    assert (result.first_token > result.start).all()
    # A token takes an iteration at least.
    assert (result.finish - result.first_token >= (trace.output - 1) * cost.base - 1e-6).all()
    assert result.most_blocks <= (cost.blocks or 10**9)
    assert result.iterations >= trace.output.sum() / cost.slots


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_idles(policy):
    """With one slot and free prompts the engine is busy for as long as there is work, whatever the order."""
    trace = random_trace(2, gap=45.0)
    scores = trace.output.astype(float)
    results = [simulate(trace, scores, p, step_cost(1), settings=SETTINGS).result for p in (policy, "fcfs")]
    assert results[0].busy == results[1].busy == trace.output.sum()
    assert results[0].finish.max() == results[1].finish.max()


def test_work_is_the_length_of_a_long_burst():
    """What ``work`` says is the least possible is what a burst takes, but for its end where slots run empty."""
    trace = random_trace(3, n=5000).burst()
    for cost in (step_cost(16), EngineCost(16), EngineCost(16, chunk=0), EngineCost(16, per_prompt_token=0.01)):
        took = run(trace, FixedKey(trace, -trace.output.astype(float)), cost).finish.max()
        assert 1.0 <= took / work(trace, cost) < 1.01


def test_load_is_set_as_wished():
    """A trace sped up to a load has that load; the engine then is busy for that share of the time."""
    trace, cost = at_load(random_trace(4, n=20_000), EngineCost(16), 0.6), EngineCost(16)
    assert offered_load(trace, cost) == pytest.approx(0.6)
    assert capacity(trace, cost) == pytest.approx(len(trace) / trace.span / 0.6)
    with pytest.raises(ValueError, match="same time"):
        at_load(trace.burst(), cost, 0.6)


def test_memory_that_holds_no_request_is_refused():
    """A request that never fits is an error at the start, not an endless loop."""
    trace = trace_of([0.0], [100], [50])
    with pytest.raises(ValueError, match="one request needs 149"):
        run(trace, KeyOrder(trace), EngineCost(4, kv_tokens=128))
    assert run(trace, KeyOrder(trace), EngineCost(4, kv_tokens=160)).finish[0] > 0


def test_preempted_requests_lose_no_token():
    """Under memory so short that most are taken off, all end, and what they got before counts."""
    trace = random_trace(5, n=300, gap=0.5)
    result = run(trace, KeyOrder(trace), step_cost(32, kv_tokens=1024))
    assert result.preempted.sum() > 50
    assert (result.finish - result.start >= trace.output - 1).all()


def test_nothing_is_a_trace_too():
    """No requests, no time."""
    trace = trace_of([], [], [])
    result = run(trace, KeyOrder(trace), EngineCost())
    assert len(result.finish) == 0
    assert result.iterations == 0


@pytest.mark.parametrize(
    "bad", [{"slots": 0}, {"block": 0}, {"base": 0.0}, {"per_sequence": -1.0}, {"chunk": 8}, {"base": float("nan")}]
)
def test_impossible_engines_are_refused(bad):
    """No engine without slots, time or room for a prompt."""
    with pytest.raises(ValueError, match=r"must be|never be read"):
        EngineCost(**{"slots": 16, **bad})


def test_cached_prompt_tokens_cost_no_time_but_memory():
    """A prompt of which 300 of 400 tokens are cached is read as one of 100, and holds 400 tokens of memory."""
    cost = EngineCost(2, 1.0, 0.0, 0.01, 0, 480, 16)
    cached = run(trace_of([0.0], [400], [10], [300]), KeyOrder(trace_of([0.0], [400], [10])), cost)
    plain = run(trace_of([0.0], [100], [10]), KeyOrder(trace_of([0.0], [100], [10])), cost)
    assert (cached.first_token, cached.finish) == (plain.first_token, plain.finish)
    assert cached.most_blocks == -(-409 // 16)
    two = trace_of([0.0, 0.0], [400, 400], [10, 10], [300, 300])
    assert run(two, KeyOrder(two), cost).start.tolist() == [0.0, cached.finish[0]]


def test_after_a_preemption_what_is_cached_is_not_read_again():
    """Who is taken off for want of memory reads its own tokens and what is not cached, as often as it comes back."""
    cost = EngineCost(2, 1.0, 0.0, 1.0, 0, 64, 1)
    arrivals, prompts, outputs = [0.0, 0.0], [20, 20], [30, 30]
    whole, half = (trace_of(arrivals, prompts, outputs, cached) for cached in ([0, 0], [15, 15]))
    results = [run(trace, KeyOrder(trace), cost) for trace in (whole, half)]
    # In the first pass both read, in the second the one that comes back: 15 tokens less each time.
    assert [r.preempted.tolist() for r in results] == [[0, 1], [0, 1]]
    assert results[0].busy - results[1].busy == 15 * (2 + 1)


def test_load_counts_what_is_read():
    """Cached tokens are no work: two traces that read the same are as heavy as each other."""
    rng = np.random.default_rng(0)
    prompt, output, arrival = rng.integers(100, 5000, 500), rng.integers(1, 300, 500), np.arange(500.0)
    half = trace_of(arrival, 2 * prompt, output, prompt)
    plain = trace_of(arrival, prompt, output)
    for cost in (EngineCost(), step_cost(16), EngineCost(chunk=0)):
        assert work(half, cost) == work(plain, cost)
        assert offered_load(half, cost) == offered_load(plain, cost)
        assert capacity(half, cost) == capacity(plain, cost)
    assert work(half, EngineCost(kv_tokens=20_000)) > work(plain, EngineCost(kv_tokens=20_000))


def test_what_a_prompt_token_counts_for():
    """The engine's own: all slots held up, in iterations of all slots; fewer where memory holds fewer; 0 in steps."""
    trace = trace_of(np.arange(10.0), [1000] * 10, [200] * 10)
    assert true_prompt_cost(trace, EngineCost()) == pytest.approx(0.0001 * 64 / (0.015 + 64 * 0.00015))
    assert true_prompt_cost(trace, step_cost(16)) == 0
    few = EngineCost(kv_tokens=11_000)
    assert 9 < usable_slots(trace, few) < 11
    assert true_prompt_cost(trace, few) == pytest.approx(
        0.0001 * usable_slots(trace, few) / (0.015 + usable_slots(trace, few) * 0.00015)
    )
