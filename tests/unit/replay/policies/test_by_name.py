"""Policies in the simulation: scores as wished, the guard in the loop, caps, tenants and classes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from support.engine_by_token import random_trace
from support.traces import trace_of

from rankd.errors import ConfigError
from rankd.replay.engine.cost import at_load, step_cost
from rankd.replay.policies.by_name import POLICIES, check_policy, simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.report.metrics import figures, gain, latency, length_quarters
from rankd.replay.trace.trace import Trace
from rankd.settings import Settings

COST = step_cost(8)


@pytest.fixture(scope="module")
def trace():
    return at_load(random_trace(7, n=3000), COST, 0.97)


@pytest.fixture(scope="module")
def fcfs(trace):
    return simulate(trace, None, "fcfs", COST)


@pytest.mark.parametrize("tau", [-1.0, -0.6, -0.3, 0.0, 0.2, 0.55, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_made_up_scores_have_the_tau_that_was_wished(trace, tau, seed):
    """By scipy's own tau-b, within .01, for every sign; the same seed gives the same scores."""
    scores = scores_of_tau(trace.output, tau, seed)
    assert kendalltau(scores, trace.output).statistic == pytest.approx(tau, abs=0.0101)
    assert (scores == scores_of_tau(trace.output, tau, seed)).all()


def test_a_tau_that_ties_forbid_is_an_error():
    """Where most lengths are equal no untied scores reach a high tau, and the message says how far they do."""
    output = np.array([5] * 900 + [9] * 100)
    with pytest.raises(ConfigError, match=r"at most about 0\.4"):
        scores_of_tau(output, 0.9)
    with pytest.raises(ConfigError, match="all equal"):
        scores_of_tau(np.full(100, 7), 0.3)


@given(st.integers(2, 400), st.floats(-0.5, 0.5), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_small_traces_get_scores_or_an_error(n, tau, seed):
    """Any number of requests: scores within .01 of the wish, or a message."""
    output = np.random.default_rng(seed).integers(1, 300, n)
    try:
        scores = scores_of_tau(output, tau, seed)
    except ConfigError:
        assert n < 100
        return
    assert kendalltau(scores, output).statistic == pytest.approx(tau, abs=0.0101)


@pytest.mark.parametrize("policy", ["boost", "due", "aged", "score"])
@pytest.mark.parametrize(("tau", "bar"), [(0.0, 1.05), (-0.3, 1.03)])
def test_a_bad_ranker_ends_as_arrival_order(trace, fcfs, policy, tau, bar):
    """With a useless or perverse ranker, latencies of those that come once the guard has seen it are FCFS's."""
    scores = scores_of_tau(trace.output, tau)
    # Where nothing is known of prompts trust ends; where they are known, and free, they order next to nothing.
    untold = simulate(replace(trace, prompt=np.zeros_like(trace.prompt)), scores, policy, COST)
    assert untold.guard_history[-1][2] == 0.0
    for replayed in (untold, simulate(trace, scores, policy, COST)):
        later = trace.arrival > np.sort(replayed.result.finish)[800]
        assert latency(replayed)[later].mean() <= bar * latency(fcfs)[later].mean()


def test_a_good_ranker_is_trusted_and_gains(trace, fcfs):
    """At tau .55 trust is full, the mean falls, and the oracle's falls further."""
    scores = scores_of_tau(trace.output, 0.55)
    own, oracle = simulate(trace, scores, "score", COST), simulate(trace, None, "oracle", COST)
    assert own.guard_history[-1][1] == pytest.approx(0.5, abs=0.08)
    assert own.guard_history[-1][2] == 1.0
    assert latency(oracle).mean() < latency(own).mean() < 0.9 * latency(fcfs).mean()
    assert 0.4 < gain(latency(own), latency(fcfs), latency(oracle)) < 1.0


def test_the_guard_can_be_off(trace):
    """Without guard trust stays full whatever is measured."""
    settings = Settings(guard={"enabled": False})
    looks = simulate(trace, scores_of_tau(trace.output, -0.3), "score", COST, settings=settings).guard_history
    assert looks[-1][1] < 0
    assert {trust for _, _, trust in looks} == {1.0}


def test_the_papers_order_has_no_guard(trace, fcfs):
    """A perverse ranker does harm under it."""
    replayed = simulate(trace, scores_of_tau(trace.output, -0.3), "paper", COST)
    assert latency(replayed).mean() > 1.05 * latency(fcfs).mean()


def test_the_oracle_is_shortest_first():
    """Our queue with true lengths serves as theory's shortest job first does, but for the order of equal lengths."""
    trace = random_trace(8, n=500, gap=1.0)
    ours, theirs = (simulate(trace, None, p, COST).result.finish for p in ("oracle", "sjf"))
    assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-3)


def test_patience_of_nought_is_arrival_order(trace, fcfs):
    """boost:0 and due:0 are FCFS to the last step, aged:0 too."""
    scores = scores_of_tau(trace.output, 0.55)
    for policy in ("boost:0", "due:0", "aged:0"):
        assert (simulate(trace, scores, policy, COST).result.finish == fcfs.result.finish).all()


def test_more_patience_is_more_order(trace):
    """The mean falls as patience grows, up to shortest first."""
    means = [latency(simulate(trace, None, f"oracle-due:{p}", COST)).mean() for p in (0, 0.1, 1, 1e6)]
    assert sorted(means, reverse=True) == means
    assert means[-1] == pytest.approx(latency(simulate(trace, None, "oracle", COST)).mean(), rel=0.01)


def test_fair_shares_serve_a_small_tenant_first():
    """A tenant that floods the queue does not hold up one with a few requests; under plain FCFS it does."""
    flood, few = 800, 40
    trace = trace_of(np.zeros(flood + few), np.zeros(flood + few, int), np.full(flood + few, 20))
    tenant = np.array([0] * flood + [1] * few)
    trace = Trace(trace.arrival, trace.prompt, trace.output, tenant=tenant, tenants=("flood", "few"))
    plain, fair = (figures(trace, r, r) for r in (simulate(trace, None, p, COST) for p in ("fcfs", "fair")))
    assert fair.tenants[1].mean < 0.2 * plain.tenants[1].mean
    assert fair.latency.mean == pytest.approx(plain.latency.mean)


def test_strict_classes_go_first():
    """The lower class waits less under every policy of the daemon, whatever its scores."""
    trace = random_trace(9, n=1500, gap=1.0)
    classes = np.random.default_rng(0).integers(0, 2, len(trace))
    trace = Trace(trace.arrival, trace.prompt, trace.output, priority_class=classes)
    base = simulate(trace, None, "fcfs", COST)
    for policy in ("fair", "boost", "score"):
        found = figures(trace, simulate(trace, scores_of_tau(trace.output, 0.5), policy, COST), base)
        assert found.classes[0].mean < 0.5 * found.classes[1].mean


def test_a_scaled_wait_cap_bounds_the_worst(trace):
    """score-cap keeps the longest latency far below that of score, at a smaller gain."""
    scores = scores_of_tau(trace.output, 0.55)
    free, capped = (latency(simulate(trace, scores, p, COST)) for p in ("score", "score-cap:1"))
    assert capped.max() < 0.6 * free.max()
    assert capped.mean() >= free.mean()


@pytest.mark.parametrize("name", ["", "best", "fcfs:1", "due:", "due:x", "due:-1", "aged:nan", "due:1e9", "DUE"])
def test_unknown_policies_are_refused(name):
    """The message names what there is."""
    with pytest.raises(ConfigError, match="--policies"):
        check_policy(name)


def test_all_policies_have_a_meaning_and_scores_where_needed(trace):
    """Each is described; those that order by scores refuse to do without."""
    assert all(POLICIES.values())
    with pytest.raises(ConfigError, match="boost needs scores"):
        simulate(trace, None, "boost", COST)


def test_quarters_of_length_keep_equals_together():
    """Equal lengths are in one class; there are four of about equal number where lengths differ."""
    assert np.bincount(length_quarters(np.arange(1, 101))).tolist() == [25, 25, 25, 25]
    assert len(set(length_quarters(np.array([3] * 50 + [4])).tolist())) == 2


def test_progress_is_told(trace):
    """A caller hears how many are done, never more than there are, and ever more."""
    told = []
    simulate(trace, None, "fcfs", COST, on_progress=told.append)
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= len(trace)
