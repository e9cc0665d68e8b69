"""The simulated engine: the same as one that goes token by token, and nothing gets lost."""

import pytest
from hypothesis import given, settings
from support.engine_by_token import Reference, engines, random_trace, traces
from support.examples import examples
from support.traces import trace_of

from rankd.replay.engine.cost import EngineCost, at_load, capacity, offered_load, step_cost, work
from rankd.replay.engine.engine import SimulatedEngine, run
from rankd.replay.policies.baselines import Boost, FixedKey, KeyOrder, ShortestRemaining
from rankd.replay.policies.by_name import POLICIES, simulate
from rankd.replay.policies.paper import PaperOrder

ORDERS = {
    "fcfs": KeyOrder,
    "sjf": lambda trace: FixedKey(trace, trace.output.astype(float)),
    "sjf, taking slots": lambda trace: FixedKey(trace, trace.output.astype(float), preemptive=True),
    "srpt": ShortestRemaining,
    "paper": lambda trace: PaperOrder(trace, -trace.output.astype(float), threshold=6, quantum=2),
    "unaware": lambda trace: Boost(trace, 1.0, recent=3),
}


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
    result = simulate(trace, trace.output.astype(float), policy, cost).result
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
    results = [simulate(trace, trace.output.astype(float), p, step_cost(1)).result for p in (policy, "fcfs")]
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
