"""Finding patience by replaying recent traffic, against a brute-force queue, known optima and hostile histories."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import CompletionHistory, Policy, ServedRequests, tuned_patience
from rankd_client.ordering.patience_tuning import replayed, slots_of
from support.examples import examples


def traffic(n=2000, load=0.95, slots=8, quality=1.0, seed=0):
    """Poisson arrivals, log-normal work, predictions of a quality from 0 to 1 (negative: the wrong way round)."""
    rng = np.random.default_rng(seed)
    z, noise = rng.normal(size=n), rng.normal(size=n)
    ran = np.exp(z)
    arrival = np.cumsum(rng.exponential(ran.mean() / slots / load, n))
    expected = 200 * np.exp(quality * z + math.sqrt(max(0.0, 1 - quality**2)) * noise * 0.5)
    served = ServedRequests(arrival, np.zeros(n), ran, expected)
    waited = np.maximum(replayed(served, np.zeros(n), slots) - ran, 0.0)
    return ServedRequests(arrival, waited, ran, expected), slots


@settings(max_examples=examples(60))
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(-9, 9)), min_size=1, max_size=25),
    st.integers(1, 4),
)
def test_a_replay_is_the_queue_step_by_step(rows, slots):
    """Against a queue simulated one unit of time after the other."""
    rows.sort()
    arrival, ran, head = (np.array(c, dtype=float) for c in zip(*rows, strict=True))
    served = ServedRequests(arrival, np.zeros(len(rows)), ran, ran)
    waiting, running, end = [], [], {}
    for now in range(1000):
        # Who comes now takes a free slot at once; a slot that is freed now goes to the first in line.
        for who in [w for w in range(len(rows)) if arrival[w] == now]:
            waiting.append(who)
            _start(waiting, running, end, arrival + head, ran, slots, now)
        for who in [w for w in running if end[w] == now]:
            running.remove(who)
        _start(waiting, running, end, arrival + head, ran, slots, now)
    assert replayed(served, head, slots).tolist() == [end[w] - arrival[w] for w in range(len(rows))]


def _start(waiting, running, end, key, ran, slots, now):
    while waiting and len(running) < slots:
        who = min(waiting, key=lambda w: (key[w], w))
        waiting.remove(who)
        running.append(who)
        end[who] = now + ran[who]


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_slots_are_found_in_what_was_served(slots):
    """The number that ran side by side while others waited."""
    served, _ = traffic(slots=slots)
    assert slots_of(served) == slots


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_what_is_found_keeps_the_tail_within_its_budget_and_makes_the_mean_better(policy):
    """On the traffic itself the patience found gains; one twice as large breaks the budget or gains less."""
    served, slots = traffic(quality=0.8)
    found = tuned_patience(served, policy, budget=1.1)
    lengths = served.expected
    average = lengths.mean()
    shape = lengths / average - 1 if policy is Policy.DUE else np.log(lengths / average)
    fcfs = replayed(served, np.zeros(len(lengths)), slots)

    def at(patience):
        return replayed(served, patience * average * shape, slots)

    assert found > 0
    assert np.quantile(at(found), 0.99) <= 1.1 * np.quantile(fcfs, 0.99)
    assert at(found).mean() < 0.95 * fcfs.mean()
    double = at(2 * found)
    assert np.quantile(double, 0.99) > 1.1 * np.quantile(fcfs, 0.99) or double.mean() > at(found).mean()


def test_a_better_ranker_may_gain_more_within_the_same_budget():
    """Gain within the tail's budget rises with the quality of what is expected."""
    gains = []
    for quality in (0.3, 0.6, 1.0):
        served, slots = traffic(quality=quality, n=4000)
        found = tuned_patience(served, Policy.BOOST)
        average = served.expected.mean()
        fcfs = replayed(served, np.zeros(4000), slots)
        ranked = replayed(served, found * average * np.log(served.expected / average), slots)
        gains.append(1 - ranked.mean() / fcfs.mean())
    assert gains == sorted(gains)
    assert gains[-1] > 0.2


def test_a_ranker_that_orders_the_wrong_way_gets_no_patience():
    """In the replay it makes nobody faster."""
    assert tuned_patience(traffic(quality=-0.8)[0], Policy.BOOST) == 0.0


def test_where_nothing_waits_nothing_is_said():
    """No evidence is not the same as no patience."""
    assert tuned_patience(traffic(load=0.05)[0], Policy.BOOST) is None
    assert tuned_patience(ServedRequests(*[np.empty(0)] * 4), Policy.BOOST) is None
    assert tuned_patience(traffic()[0], Policy.SCORE) is None


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 4), min_size=2, max_size=40))
def test_any_history_can_be_tuned_by(rows):
    """Whatever was reported, what comes out is None or a patience."""
    history = CompletionHistory()
    for row in rows:
        history.add(*row)
    found = tuned_patience(history.served(), Policy.BOOST)
    assert found is None or 0 <= found < math.inf


def test_a_history_keeps_the_latest_by_arrival_and_no_nonsense():
    """Bounded; NaN, infinite and negative rows are left out."""
    history = CompletionHistory(3)
    for row in [
        (5, 1, 1, 1),
        (math.nan, 1, 1, 1),
        (1, -1, 1, 1),
        (2, 1, math.inf, 1),
        (9, 1, 1, 1),
        (7, 0, 0, 0),
        (8, 1, 1, 1),
    ]:
        history.add(*row)
    assert len(history) == 3
    assert history.served().arrival.tolist() == [7, 8, 9]


def test_a_burst_that_was_served_shortest_first_still_calls_for_patience():
    """Completions of one moment come back in the order they were served: that order is not taken for arrival order."""
    ran = np.sort(np.random.default_rng(0).lognormal(0, 1, 600))
    history = CompletionHistory()
    served = ServedRequests(np.zeros(600), np.zeros(600), ran, 100 * ran)
    for waited, own in zip(replayed(served, ran, 4) - ran, ran, strict=True):
        history.add(0.0, max(float(waited), 0.0), float(own), 100 * float(own))
    assert tuned_patience(history.served(), Policy.BOOST) > 0


@pytest.mark.parametrize("row", [(0.0, 0.0, 1e6, 200.0), (0.0, 1e6, 1.0, 200.0), (0.0, 1.0, 1.0, 1e7)])
def test_one_report_does_not_decide(row):
    """A row of absurd duration or length among 2,000 neither ends tuning nor moves what is found by more than half."""
    served, _ = traffic(quality=0.8)
    rows = list(zip(served.arrival, served.waited, served.ran, served.expected, strict=True))
    history = CompletionHistory(2001)
    for one in [*rows, row]:
        history.add(*map(float, one))
    found, poisoned = tuned_patience(served, Policy.BOOST), tuned_patience(history.served(), Policy.BOOST)
    assert poisoned is not None
    assert found / 2 <= poisoned <= 2 * found
