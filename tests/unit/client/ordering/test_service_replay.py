"""Serving a queue again on a fitted engine, against one that is simulated in small steps of time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import CostEstimate, ServedRequest, ServedRequests, ServiceCosts
from rankd_client.ordering.service_replay import Workload, replayed, slots_of, usual_of
from support.examples import examples


def cost(value):
    return CostEstimate(value, value, value)


def costs(prompt=0.001, output=0.02, request=0.0, running=8.0):
    return ServiceCosts(cost(prompt), cost(output), cost(request), running, 1000)


def by_unit_of_time(arrival, decode, prefill, slots, key):
    """Latencies and times to first token of an engine that is looked at after every unit of time."""
    waiting, running, first, end = [], {}, {}, {}
    reads, reading = None, 0
    for now in range(400):
        waiting += [who for who in range(len(arrival)) if arrival[who] == now]
        for who in [who for who, left in running.items() if left == 0 and who != reads]:
            del running[who]
            end[who] = now
        if reads is not None and reading == 0:
            first[reads], reads = now, None
        while reads is None and waiting and len(running) < slots:
            who = min(waiting, key=lambda w: (key[w], w))
            waiting.remove(who)
            running[who] = decode[who]
            if prefill[who]:
                reads, reading = who, prefill[who]
            else:
                first[who] = now
        if reads is not None:
            reading -= 1
        else:
            running = {who: left - 1 for who, left in running.items()}
    return [end[w] - arrival[w] for w in range(len(arrival))], [first[w] - arrival[w] for w in range(len(arrival))]


@settings(max_examples=examples(60))
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 4), st.integers(-9, 9)),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 4),
)
def test_a_replay_is_the_engine_step_by_step(rows, slots):
    """While a prompt is read nobody else gets on and nobody starts; else all that run do."""
    rows.sort()
    arrival, decode, prefill, head = (np.array(c, dtype=float) for c in zip(*rows, strict=True))
    found = replayed(Workload(arrival, decode, prefill, slots), arrival + head)
    whole, first = by_unit_of_time(arrival, decode, prefill, slots, arrival + head)
    assert found.whole.tolist() == whole
    assert found.first_token.tolist() == first


def test_what_requests_took_is_told_by_costs_where_they_and_lengths_are_known():
    """Of what was observed only what cannot be told otherwise is used."""
    rows = [
        ServedRequest(0.0, 1.0, 50.0, 100.0, output=200, prompt=1000),
        ServedRequest(1.0, 1.0, 50.0, 100.0, output=200),
        ServedRequest(2.0, 1.0, 50.0, 100.0, prompt=1000),
    ]
    served = ServedRequests.of(rows)
    load = Workload.of(served, costs(request=0.5))
    assert load.decode == pytest.approx([4.5, 4.5, 50.0])
    assert load.prefill == pytest.approx([1.0, 0.0, 1.0])
    seen = Workload.of(served, None)
    assert (seen.decode.tolist(), seen.prefill.tolist()) == ([50.0] * 3, [0.0] * 3)


def test_no_request_counts_for_many_times_what_the_others_take():
    """An invented duration is left out; what is near the others is left alone."""
    ran = np.full(1000, 2.0)
    ran[3] = 1e9
    nothing = np.full(1000, math.nan)
    served = ServedRequests(np.arange(1000.0), np.ones(1000), ran, ran, nothing, nothing)
    usual = usual_of(served, 8.0)
    assert (len(usual), usual.ran.max()) == (999, 2.0)


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_slots_are_found_in_what_was_served(slots):
    """The number that ran side by side while others waited."""
    rng = np.random.default_rng(0)
    ran = rng.lognormal(size=2000)
    arrival = np.cumsum(rng.exponential(ran.mean() / slots / 0.95, 2000))
    latency = replayed(Workload(arrival, ran, np.zeros(2000), slots), arrival).whole
    nothing = np.full(2000, math.nan)
    served = ServedRequests(arrival, np.maximum(latency - ran, 0.0), ran, ran, nothing, nothing)
    assert slots_of(served) == slots
