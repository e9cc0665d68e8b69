"""Policies that know of prompts: objectives by name, orders by work, and published ones to compare with."""

import math

import numpy as np
import pytest
from support.engine_by_token import random_trace
from support.traces import trace_of

from rankd.errors import ConfigError
from rankd.replay.engine.cost import EngineCost, at_load, step_cost, true_prompt_cost
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import FixedKey, ShortestRemaining
from rankd.replay.policies.by_name import OBJECTIVES, check_policy, needs_scores, simulate
from rankd.replay.policies.learner import Learner, TailInflated, read_prompts
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.policies.uniboost import UniBoost
from rankd.replay.report.metrics import latency
from rankd.settings import Settings

COST = EngineCost(slots=16)


@pytest.fixture(scope="module")
def trace():
    """Prompts take more of the engine's time than answers, and a part of some is cached."""
    rng = np.random.default_rng(3)
    n = 2000
    prompt = np.rint(np.clip(rng.lognormal(np.log(800), 1.0, n), 16, 12_000)).astype(int)
    output = np.rint(np.clip(rng.lognormal(np.log(60), 0.8, n), 1, 800)).astype(int)
    cached = np.where(rng.random(n) < 0.3, prompt * 9 // 10, 0)
    return at_load(trace_of(np.cumsum(rng.exponential(1.0, n)), prompt, output, cached), COST, 1.0)


def mean(trace, policy, tau=0.5, cost=COST, **settings):
    scores = scores_of_tau(trace.output, tau) if needs_scores(policy) else None
    return latency(simulate(trace, scores, policy, cost, settings=Settings(**settings))).mean()


def test_least_true_work_is_the_least_mean(trace):
    """Shortest output first is no bound where prompts take time: least work beats it, and known prompts alone."""
    least = mean(trace, "sjf")
    by_output = run(trace, FixedKey(trace, trace.output.astype(float)), COST)
    assert least < 0.9 * (by_output.finish - by_output.arrival).mean()
    assert least < mean(trace, "prefill")
    assert least < mean(trace, "prompt-work")
    # As good, but for ties and rounding, through the daemon's own queue.
    assert mean(trace, "oracle") == pytest.approx(least, rel=0.01)
    assert mean(trace, "srpt") < 1.05 * least


def test_the_true_cost_of_prompts_is_near_the_best_weight(trace):
    """No other weight of prompt tokens in shortest first gives a mean that is lower by more than 2 %."""

    def weighted(weight):
        result = run(trace, FixedKey(trace, trace.output + weight * trace.uncached), COST)
        return (result.finish - result.arrival).mean()

    own = true_prompt_cost(trace, COST)
    assert weighted(own) <= 1.02 * min(weighted(own * share) for share in (0.1, 0.3, 0.6, 1.5, 3.0, 10.0))


def test_remaining_work_counts_a_prompt_until_it_is_read():
    """A long prompt goes last, but not once it has been read: then little is left."""
    order = ShortestRemaining(trace_of([0.0, 1.0], [1000, 0], [10, 50]), 0.1)
    assert [order.key(0, 0)[0], order.key(0, 1)[0], order.key(1, 0)[0]] == [110, 9, 50]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_is_the_daemons_order_with_it_configured(trace, objective):
    """By name it is what `boost` makes of the setting, to the last request, whatever else is configured."""
    scores, part = scores_of_tau(trace.output, 0.5)[:900], trace.first(900)
    target = {"slo": "90 % within 20 s"}
    own = simulate(part, scores, "boost", COST, settings=Settings(order=target | {"objective": objective}))
    for other in ({}, {"policy": "aged"}):
        named = simulate(part, scores, objective, COST, settings=Settings(order=target | other))
        assert (named.result.finish == own.result.finish).all()
        assert named.guard_history == own.guard_history


def test_slo_needs_a_target(trace):
    """Without one it says which setting to make."""
    with pytest.raises(ConfigError, match=r"RANKD_ORDER__SLO .*order\.slo.*99 % within 30 s"):
        simulate(trace, scores_of_tau(trace.output, 0.5), "slo", COST)


@pytest.mark.parametrize(("share", "careful"), [(0.99, True), (0.9, False)])
def test_a_target_is_kept_by_whichever_order_can(share, careful):
    """One that arrival order just keeps for nearly all, and one that shortest first just keeps for most."""
    rng = np.random.default_rng(5)
    n, cost = 1500, step_cost(8)
    output = np.rint(np.clip(rng.lognormal(np.log(60), 1.0, n), 1, 2000)).astype(int)
    own = at_load(trace_of(np.cumsum(rng.exponential(1.0, n)), np.zeros(n, dtype=int), output), cost, 1.05)
    scores = scores_of_tau(output, 0.5)
    in_arrival_order, shortest_first = (latency(simulate(own, scores, p, cost)) for p in ("fcfs", "work"))
    keeps, misses = (in_arrival_order, shortest_first) if careful else (shortest_first, in_arrival_order)
    seconds = float(np.quantile(keeps, share))
    assert np.mean(misses <= seconds) < share - 0.015
    target = {"slo": f"{100 * share:g} % within {seconds:.6g} s"}
    found = latency(simulate(own, scores, "slo", cost, settings=Settings(order=target)))
    assert np.mean(found <= seconds) >= share - 0.01
    assert found.mean() < in_arrival_order.mean()


def test_a_fixed_patience_is_of_no_objective(trace):
    """boost:THETA stays the policy that was named, whatever is configured."""
    scores, part = scores_of_tau(trace.output, 0.5)[:600], trace.first(600)
    plain, other = (
        simulate(part, scores, "boost:0.05", COST, settings=Settings(order={"objective": objective}))
        for objective in ("balanced", "makespan")
    )
    assert (plain.result.finish == other.result.finish).all()


def test_most_work_first_ends_a_burst_soonest(trace):
    """Longest first ends within 3 % of what true lengths make possible, and before shortest first."""
    burst = trace.first(1000).burst()
    scores = scores_of_tau(burst.output, 0.55)
    ends = {
        name: simulate(burst, scores, name, step_cost(16)).result.finish.max()
        for name in ("makespan", "longest", "oracle-longest", "first")
    }
    assert ends["makespan"] <= 1.03 * ends["oracle-longest"]
    assert ends["longest"] <= 1.03 * ends["oracle-longest"]
    assert ends["makespan"] < ends["first"]


def test_prompts_alone_need_no_scores(trace):
    """Whatever a ranker says, it is the same order; known prompts shorten the mean where prompts take time."""
    found = [
        simulate(trace, scores, "prompt-work", COST).result.finish
        for scores in (None, scores_of_tau(trace.output, -0.3), np.zeros(len(trace)))
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    assert (found[0] - trace.arrival).mean() < 0.9 * mean(trace, "fcfs")


def test_prompts_alone_without_counts_are_arrival_order():
    """Where nothing is known of prompts, nothing is known at all."""
    trace = random_trace(4, n=500, prompt=1, gap=1.0)
    plain, alone = (simulate(trace, None, name, step_cost(4)).result.finish for name in ("fcfs", "prompt-work"))
    assert (plain == alone).all()


def test_work_has_neither_guard_nor_bound(trace):
    """It stays with a perverse ranker, and no setting of bounds changes it."""
    scores = scores_of_tau(trace.output, -0.3)
    free = simulate(trace, scores, "work", COST)
    assert {trust for _, _, trust in free.guard_history} == {1.0}
    bounds = {"wait_cap": 5.0, "wait_cap_backlog_share": 0.5, "overtake_cap": 3, "risk": 0.5}
    bound = simulate(trace, scores, "work", COST, settings=Settings(order=bounds))
    assert (free.result.finish == bound.result.finish).all()
    steps = at_load(trace, step_cost(8), 0.97)
    assert mean(steps, "work", 0.5, step_cost(8)) < 0.9 * mean(steps, "fcfs", cost=step_cost(8))


def test_shortest_prefill_first_is_by_what_is_not_cached():
    """Of three that wait, the one with the fewest tokens to be read goes first, however long its prompt is."""
    trace = trace_of([0.0, 0.1, 0.2, 0.3], [10, 500, 900, 300], [50, 5, 5, 5], [0, 0, 800, 0])
    start = simulate(trace, None, "prefill", EngineCost(slots=1)).result.start
    assert np.argsort(start).tolist() == [0, 2, 3, 1]


def test_uniboost_is_arrival_less_the_boost():
    """The formula, by hand, for a prompt of which a part is cached; nothing to be read is boosted most."""
    trace = trace_of([5.0, 6.0], [3000, 400], [10, 10], [2000, 400])
    order = UniBoost(trace, EngineCost(per_prompt_token=2e-4), gamma=3.0)
    size = 2e-4 * 1000
    assert order.key(0, 0) == pytest.approx((5.0 + math.log(1 - math.exp(-3.0 * size)) / 3.0,))
    assert order.key(0, 200) == pytest.approx((5.0 + math.log(1 - math.exp(-3.0 * 2e-4 * 1200)) / 3.0,))
    assert order.key(1, 0) < order.key(0, 0)


def test_uniboost_is_between_arrival_order_and_shortest_prefill(trace):
    """A gamma so large that nobody is boosted is the one, one so small that boosts are years is nearly the other."""
    fcfs, prefill, late, early = (
        simulate(trace, None, p, COST).result.finish for p in ("fcfs", "prefill", "uniboost:1e6", "uniboost:1e-6")
    )
    assert np.abs(late - fcfs).max() < 0.5
    assert early.mean() == pytest.approx(prefill.mean(), rel=0.01)
    assert mean(trace, "uniboost:0.1") < mean(trace, "uniboost:1") < mean(trace, "uniboost:10")


def test_uniboost_adapts_by_the_tail_of_latencies():
    """A light tail raises gamma towards 200, a heavy one lowers it; before 200 latencies it stays."""
    trace = trace_of(np.zeros(400), np.full(400, 100), np.full(400, 5))
    even, heavy = UniBoost(trace, EngineCost()), UniBoost(trace, EngineCost())
    for request in range(199):
        even.finished(request, 100.0)
    start = even.key(0, 0)
    for request in range(200):
        heavy.finished(request, 1e5 if request % 50 == 0 else 10.0)
    even.finished(199, 100.0)
    assert start < even.key(0, 0)
    assert heavy.key(0, 0) < even.key(0, 0)


@pytest.mark.parametrize("name", ["uniboost:0", "prefill:1", "tie:1", "mean:2", "work:", "prompt-work:1", "makespan:1"])
def test_numbers_that_mean_nothing_are_refused(name):
    """The message names what there is."""
    with pytest.raises(ConfigError, match="--policies"):
        check_policy(name)


def test_tie_adds_the_upper_tail(trace):
    """Mean and 90th percentile together; prompts do not count, and a perverse ranker is not stopped."""
    scores, settings = scores_of_tau(trace.output, 0.5), Settings()
    plain, tie = Learner(trace, scores, settings), TailInflated(trace, scores, settings)
    assert np.isnan(tie.expected(scores[:3])).all()
    result = run(trace, FixedKey(trace, trace.output.astype(float)), COST)

    class Nobody:
        def running(self):
            return []

    for request in np.argsort(result.finish)[:600].tolist():
        for learner in (plain, tie):
            learner.arrived(request, trace.arrival[request])
            learner.started(request, result.start[request])
            learner.finished(request, result.finish[request], Nobody())
    some = scores[::50]
    assert tie.calibration is not None
    assert (tie.expected(some) == plain.expected(some) + tie.calibration.p90(some)).all()
    by_output = simulate(trace, scores, "tie", COST, settings=Settings(order={"prompt_cost": 5.0}))
    assert (by_output.result.finish == simulate(trace, scores, "tie", COST).result.finish).all()
    assert {trust for _, _, trust in by_output.guard_history} == {1.0}


@pytest.mark.parametrize("tau", [0.0, -0.3])
def test_a_bad_ranker_leaves_an_order_by_prompts(tau):
    """Where prompts and answers cost alike: what is expected of answers does no harm, prompts go on to order."""
    rng = np.random.default_rng(5)
    prompt = np.rint(np.clip(rng.lognormal(np.log(800), 1.0, 2000), 16, 12_000)).astype(int)
    output = np.rint(np.clip(rng.lognormal(np.log(150), 0.9, 2000), 1, 2000)).astype(int)
    trace = at_load(trace_of(np.cumsum(rng.exponential(1.0, 2000)), prompt, output), COST, 1.0)
    settings = Settings(order={"objective": "first"})
    own = simulate(trace, scores_of_tau(trace.output, tau), "boost", COST, settings=settings)
    fcfs, alone = (latency(simulate(trace, None, p, COST, settings=settings)) for p in ("fcfs", "prompt-work"))
    # By scores against lengths there would be no trust at all: it is expected against realised work that counts.
    assert own.guard_history[-1][1] > 0.2
    assert own.guard_history[-1][2] > 0.6
    later = trace.arrival > np.sort(own.result.finish)[500]
    assert latency(own)[later].mean() <= 1.03 * alone[later].mean()
    assert alone.mean() < 0.9 * fcfs.mean()


def test_prompts_without_counts_are_not_known():
    """A trace of prompts of no tokens has none counted; one whose prompts are cached as a whole has."""
    assert np.isnan(read_prompts(trace_of([0.0, 1.0], [0, 0], [1, 1]))).all()
    assert read_prompts(trace_of([0.0, 1.0], [5, 7], [1, 1], [5, 3])) == [0.0, 4.0]
