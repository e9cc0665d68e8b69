"""Finding patience by replaying recent traffic: what each objective makes of it, limits, and hostile histories."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.ordering import (
    CompletionHistory,
    CostEstimate,
    LatencyTarget,
    Objective,
    Policy,
    ServedRequest,
    ServedRequests,
    ServiceCosts,
    tune,
)
from rankd_client.ordering.objectives import LIMITS
from rankd_client.ordering.service_replay import Workload, replayed

PACE, READS, SLOTS = 0.005, 0.0005, 8
LIMITED = list(LIMITS)


def cost(value):
    return CostEstimate(value, value, value)


COSTS = ServiceCosts(cost(READS), cost(PACE), cost(0.0), float(SLOTS), 2000)


def traffic(n=2000, load=0.95, slots=SLOTS, quality=1.0, seed=0, prompts=False, key=None):
    """Requests, [n], as an engine served them: Poisson arrivals, log-normal lengths, predictions of a quality from 0 to
    1 (negative: the wrong way round), in the order of a key, which is made from work, or of arrival.
    """
    rng = np.random.default_rng(seed)
    z, noise = rng.normal(size=n), rng.normal(size=n)
    output = 200 * np.exp(z)
    prompt = rng.lognormal(5.5, 1.5, n) if prompts else np.full(n, math.nan)
    prefill = READS * np.nan_to_num(prompt)
    takes = (PACE * output).mean() / slots + prefill.mean()
    arrival = np.cumsum(rng.exponential(takes / load, n))
    expected = 200 * np.exp(quality * z + math.sqrt(max(0.0, 1 - quality**2)) * noise * 0.5)
    order = arrival if key is None else key(expected + COSTS.prompt_cost * np.nan_to_num(prompt))
    taken = replayed(Workload(arrival, PACE * output, prefill, slots), order)
    waited = np.maximum(taken.first_token - prefill, 0.0)
    return ServedRequests(arrival, waited, taken.whole - waited, expected, output, prompt)


def ratios(served, patience, share, policy=Policy.BOOST):
    """Mean and p99 over arrival order's, of a patience that follows the waiting, as found."""
    work = served.expected
    average = np.sort(work)[: len(work) - len(work) // 100].mean()
    load = Workload.of(served, None)
    fcfs = replayed(load, load.arrival)
    own = np.maximum(fcfs.first_token, patience * average / share) if share else 0.0
    shape = work / average - 1 if policy is Policy.DUE else np.log(work / average)
    found = replayed(load, load.arrival + share * own * shape)
    return found.whole.mean() / fcfs.whole.mean(), np.quantile(found.whole, 0.99) / np.quantile(fcfs.whole, 0.99)


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_what_is_found_keeps_the_tail_within_limits_and_makes_the_mean_better(policy):
    """The figures are those of the patience that is told, and within what the objective allows."""
    served = traffic(quality=0.8)
    found = tune(served, policy, None)
    for objective in LIMITED:
        one = found[objective]
        assert one.patience > 0
        assert one.p99_ratio <= LIMITS[objective].p99
        assert one.mean_ratio < 0.95
        assert ratios(served, one.patience, one.backlog_share, policy) == pytest.approx((one.mean_ratio, one.p99_ratio))
    means = [found[objective].mean_ratio for objective in LIMITED]
    assert means == sorted(means, reverse=True), "who allows a longer tail gains no less"


@pytest.mark.parametrize("budget", [1.02, 1.1, 1.5])
def test_a_tail_budget_replaces_the_limits_of_all_objectives(budget):
    """Whatever the objective, p99 is within it."""
    found = tune(traffic(quality=0.8), Policy.BOOST, None, tail_budget=budget)
    assert all(found[objective].p99_ratio <= budget for objective in LIMITED)


def test_a_better_ranker_may_gain_more_within_the_same_budget():
    """Gain within the tail's budget rises with the quality of what is expected."""
    gains = [
        1 - tune(traffic(quality=quality, n=4000), Policy.BOOST, None)[Objective.TAIL].mean_ratio
        for quality in (0.3, 0.6, 1.0)
    ]
    assert gains == sorted(gains)
    assert gains[-1] > 0.2


def test_a_ranker_that_orders_the_wrong_way_gets_no_patience():
    """In the replay it makes nobody faster: arrival order."""
    found = tune(traffic(quality=-0.8), Policy.BOOST, None)
    for objective in LIMITED:
        assert (found[objective].patience, found[objective].backlog_share) == (0.0, 0.0)
        assert (found[objective].mean_ratio, found[objective].p99_ratio) == (1.0, 1.0)


def test_known_prompts_gain_where_nothing_is_known_of_answers():
    """Work is what orders: answers that all look alike leave the prompts, which everybody waits for."""
    served = traffic(prompts=True, quality=0.0)
    flat = ServedRequests(*(getattr(served, n) for n in ("arrival", "waited", "ran")), np.full(2000, 300.0),
                          served.output, served.prompt)  # fmt: skip
    assert tune(flat, Policy.BOOST, COSTS)[Objective.MEAN].mean_ratio < 0.9
    assert tune(flat, Policy.BOOST, COSTS, prompt_cost=0.0)[Objective.MEAN].patience == 0.0


def test_what_is_found_does_not_depend_on_the_order_that_was_served():
    """Served by arrival and shortest first: run times differ by what started beside, findings hardly."""
    by_arrival = traffic(prompts=True, quality=0.8)
    shortest_first = traffic(prompts=True, quality=0.8, key=lambda work: work)
    assert not np.allclose(by_arrival.ran, shortest_first.ran, rtol=0.2)
    one, other = (tune(served, Policy.BOOST, COSTS) for served in (by_arrival, shortest_first))
    assert one.keys() == other.keys()
    for objective in LIMITED:
        assert other[objective].patience == pytest.approx(one[objective].patience, rel=0.5)
        assert other[objective].mean_ratio == pytest.approx(one[objective].mean_ratio, abs=0.05)


def test_the_most_patience_is_shortest_first():
    """Where no limit binds, as much is gained as by work alone."""
    found = tune(traffic(quality=0.9), Policy.BOOST, None, tail_budget=1e6)
    assert found[Objective.FIRST].mean_ratio == pytest.approx(found[Objective.MEAN].mean_ratio, abs=0.03)
    assert found[Objective.FIRST].patience == found[Objective.MAKESPAN].patience == 0.0
    assert found[Objective.MAKESPAN].mean_ratio > 1


@pytest.mark.parametrize("first_token", [False, True])
def test_a_target_that_arrival_order_keeps_is_kept(first_token):
    """The most gain of those that keep it."""
    served = traffic(quality=0.8, load=1.0)
    fcfs = replayed(Workload.of(served, None), served.arrival)
    seconds = float(np.quantile(fcfs.first_token if first_token else fcfs.whole, 0.95))
    found = tune(served, Policy.BOOST, None, target=LatencyTarget(0.9, seconds, first_token=first_token))
    slo = found[Objective.SLO]
    assert slo.arrival_slo_share == pytest.approx(0.95, abs=0.002)
    assert slo.slo_share >= 0.9
    assert slo.mean_ratio < 0.9


def test_a_target_that_no_order_keeps_is_kept_for_most():
    """No patience of the sweep keeps it for more."""
    served = traffic(quality=0.8, load=1.1)
    target = LatencyTarget(0.99, 2.0)
    found = tune(served, Policy.BOOST, None, target=target)
    assert found[Objective.SLO].arrival_slo_share < found[Objective.SLO].slo_share < 0.99
    assert found[Objective.SLO].slo_share >= max(found[objective].slo_share for objective in LIMITED)
    assert Objective.SLO not in tune(served, Policy.BOOST, None)


def shares(served, target):
    """Within a target in arrival order, and shortest first."""
    load = Workload.of(served, None)
    return [float(np.mean(replayed(load, key).whole <= target.seconds)) for key in (load.arrival, served.expected)]


def latest(served, share, key):
    """The time within which an order serves a share."""
    return float(np.quantile(replayed(Workload.of(served, None), key).whole, share, method="higher"))


def test_a_target_for_nearly_all_is_kept_by_care():
    """Arrival order just keeps it; shortest first leaves too many behind."""
    served = traffic(quality=0.8, load=1.05)
    target = LatencyTarget(0.99, latest(served, 0.99, served.arrival))
    in_arrival_order, shortest_first = shares(served, target)
    assert in_arrival_order >= 0.99
    assert shortest_first < 0.985
    assert tune(served, Policy.BOOST, None, target=target)[Objective.SLO].slo_share >= 0.987


def test_a_target_for_most_is_kept_shortest_first():
    """Shortest first just keeps it; in arrival order too many wait."""
    served = traffic(quality=0.8, load=1.05)
    target = LatencyTarget(0.9, latest(served, 0.9, served.expected))
    in_arrival_order, shortest_first = shares(served, target)
    assert in_arrival_order < 0.8
    assert shortest_first >= 0.9
    found = tune(served, Policy.BOOST, None, target=target)
    assert found[Objective.SLO].slo_share >= 0.893
    assert found[Objective.SLO].mean_ratio == pytest.approx(found[Objective.FIRST].mean_ratio, abs=0.02)


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_a_target_is_kept_with_time_to_spare_or_as_arrival_order_does(policy):
    """A queue that gets longer finds the order careful already; one that is far from the target gains all it can."""
    served = traffic(quality=0.8, load=1.05)
    needed = latest(served, 0.99, served.arrival)
    near, far = (
        tune(served, policy, None, target=LatencyTarget(0.99, seconds))[Objective.SLO]
        for seconds in (1.5 * needed, 100 * needed)
    )
    assert far.mean_ratio < near.mean_ratio - 0.1
    load = Workload.of(served, None)
    assert near.patience < far.patience
    assert near.arrival_slo_share == float(np.mean(replayed(load, load.arrival).whole <= 1.5 * needed))
    assert near.slo_share >= 0.987


def test_a_ranker_that_orders_the_wrong_way_keeps_a_target_in_arrival_order():
    """Whatever the target leaves room for, nothing is gained."""
    served = traffic(quality=-0.8)
    needed = latest(served, 0.9, served.arrival)
    for seconds in (needed, 100 * needed):
        assert tune(served, Policy.BOOST, None, target=LatencyTarget(0.9, seconds))[Objective.SLO].patience == 0.0


def test_where_nothing_waits_nothing_is_said():
    """No evidence is not the same as no patience."""
    assert tune(traffic(load=0.05), Policy.BOOST, None) == {}
    assert tune(ServedRequests.of([]), Policy.BOOST, None) == {}
    assert tune(traffic(), Policy.SCORE, None) == {}


numbers = st.floats(0, 1e6)
unknown = numbers | st.just(math.nan)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers, unknown, unknown), min_size=2, max_size=40), st.booleans()
)
def test_any_history_can_be_tuned_by(rows, known):
    """Whatever was reported, what comes out is nothing or patience."""
    history = CompletionHistory()
    for row in rows:
        history.add(ServedRequest(*row))
    found = tune(history.served(), Policy.BOOST, COSTS if known else None, target=LatencyTarget(0.9, 10.0))
    for outcome in found.values():
        assert 0 <= outcome.patience < math.inf
        assert 0 <= outcome.backlog_share < math.inf
        assert 0 <= outcome.slo_share <= 1


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
        history.add(ServedRequest(*row))
    assert len(history) == 3
    assert history.served().arrival.tolist() == [7, 8, 9]


def test_a_burst_that_was_served_shortest_first_still_calls_for_patience():
    """Completions of one moment come back in the order they were served: that order is not taken for arrival order."""
    ran = np.sort(np.random.default_rng(0).lognormal(0, 1, 600))
    history = CompletionHistory()
    taken = replayed(Workload(np.zeros(600), ran, np.zeros(600), 4), ran)
    for waited, own in zip(taken.first_token.tolist(), ran.tolist(), strict=True):
        history.add(ServedRequest(0.0, waited, own, 100 * own))
    found = tune(history.served(), Policy.BOOST, None)
    assert all(found[objective].patience > 0 for objective in LIMITED)


@pytest.mark.parametrize(
    "row",
    [
        ServedRequest(0.0, 0.0, 1e6, 200.0),
        ServedRequest(0.0, 1e6, 1.0, 200.0),
        ServedRequest(0.0, 1.0, 1.0, 1e7),
        ServedRequest(0.0, 1.0, 1.0, 200.0, output=1e9, prompt=1e9),
    ],
)
@pytest.mark.parametrize("costs", [None, COSTS])
def test_one_report_does_not_decide(row, costs):
    """A row of absurd duration or length among 2,000 neither ends tuning nor moves what is found by more than half."""
    served = traffic(quality=0.8, prompts=costs is not None)
    columns = (served.arrival, served.waited, served.ran, served.expected, served.output, served.prompt)
    rows = [ServedRequest(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]
    found = tune(ServedRequests.of(rows), Policy.BOOST, costs)
    poisoned = tune(ServedRequests.of([*rows, row]), Policy.BOOST, costs)
    for objective in (Objective.TAIL, Objective.BALANCED):
        assert found[objective].patience / 2 <= poisoned[objective].patience <= 2 * found[objective].patience
