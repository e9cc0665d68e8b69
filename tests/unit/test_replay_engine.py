"""The simulated engine: the same as one that goes token by token, and nothing gets lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_reference import Reference, engines, traces

from rankd.replay.cost import Cost, at_load, capacity, offered_load, step_cost, work
from rankd.replay.engine import Engine, run
from rankd.replay.orders import Boost, FixedKey, KeyOrder, PaperOrder, ShortestRemaining
from rankd.replay.trace import trace_of

ORDERS = {
    "fcfs": KeyOrder,
    "sjf": lambda trace: FixedKey(trace, trace.output.astype(float)),
    "sjf, taking slots": lambda trace: FixedKey(trace, trace.output.astype(float), preemptive=True),
    "srpt": ShortestRemaining,
    "paper": lambda trace: PaperOrder(trace, -trace.output.astype(float), threshold=6, quantum=2),
    "boost": lambda trace: Boost(trace, 1.0, recent=3),
}


@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=150, deadline=None)
@given(trace=traces(), cost=engines())
def test_events_equal_tokens(name, trace, cost):
    """Going from event to event gives exactly the times of going token by token, under every order and limit."""
    engine = Engine(trace, ORDERS[name](trace), cost)
    result = engine.run()
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
