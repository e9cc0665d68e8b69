"""Costs learned from completions of the simulated engine, whose costs are known."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import CostEstimate, ServedRequest, ServedRequests, ServiceCosts, fit_costs
from rankd_client.ordering.robust_regression import Regression, robust
from rankd_client.ordering.service_costs import PRIOR_PROMPT_COST, explained

from rankd.replay.engine.cost import EngineCost, at_load, step_cost
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import FixedKey, KeyOrder
from rankd.replay.trace.trace import Trace

COUNT = 1200


def completions(cost, load, *, shortest_first=False, count=COUNT, seed=1):
    """What an engine reports of made-up requests."""
    rng = np.random.default_rng(seed)
    prompt = np.ceil(rng.lognormal(6.5, 0.8, count)).astype(np.int64)
    output = np.ceil(rng.lognormal(4.5, 0.7, count)).astype(np.int64)
    trace = at_load(Trace(np.cumsum(rng.exponential(1.0, count)), prompt, output), cost, load)
    order = FixedKey(trace, (output + 0.1 * prompt).astype(np.float64)) if shortest_first else KeyOrder(trace)
    done = run(trace, order, cost)
    columns = (done.arrival, done.start - done.arrival, done.finish - done.start, output, output, prompt)
    return ServedRequests.of(ServedRequest(*map(float, row)) for row in zip(*columns, strict=True))


@pytest.mark.parametrize("load", [0.8, 1.05])
@pytest.mark.parametrize("shortest_first", [False, True])
def test_costs_of_an_engine_that_reads_prompts_are_found_whatever_the_order(load, shortest_first):
    """16 slots; a token takes .015 s and .00015 s for each that runs, a prompt token .0001 s."""
    cost = EngineCost(slots=16)
    found = fit_costs(completions(cost, load, shortest_first=shortest_first))
    assert found.per_prompt_token.value == pytest.approx(cost.per_prompt_token, rel=0.05)
    assert found.per_output_token.value == pytest.approx(cost.base + found.running * cost.per_sequence, rel=0.05)
    assert 10 < found.running <= 16.01
    assert found.per_prompt_token.low <= found.per_prompt_token.value <= found.per_prompt_token.high


def test_work_of_a_full_batch():
    """A prompt token holds up all 16: .0001 s * 16 / .0174 s."""
    assert fit_costs(completions(EngineCost(slots=16), 1.05)).prompt_cost == pytest.approx(0.092, rel=0.06)


@pytest.mark.parametrize("load", [0.8, 1.05])
def test_prompts_that_cost_nothing_cost_nothing(load):
    """An engine whose every step takes a second."""
    found = fit_costs(completions(step_cost(16), load))
    assert found.per_prompt_token.high < 1e-9
    assert found.per_output_token.value == pytest.approx(1.0)
    assert found.prompt_cost < 1e-9


def test_costs_where_memory_limits_how_many_run():
    """The same costs, and fewer that run."""
    cost = EngineCost(kv_tokens=16_000)
    found = fit_costs(completions(cost, 1.05))
    assert found.per_prompt_token.value == pytest.approx(cost.per_prompt_token, rel=0.1)
    assert found.running < 30


def test_several_engines_behind_one_daemon():
    """A prompt holds up those of its own engine only; with the others counted it costs half, and twice as many run."""
    one, other = (completions(EngineCost(slots=16), 1.05, seed=seed) for seed in (1, 2))
    both = ServedRequests(*(np.concatenate((getattr(one, c), getattr(other, c))) for c in ServedRequest._fields))
    alone, found = fit_costs(one), fit_costs(both)
    assert found.running == pytest.approx(2 * alone.running, rel=0.1)
    assert found.per_prompt_token.value < 0.75 * alone.per_prompt_token.value
    assert found.prompt_cost == pytest.approx(alone.prompt_cost, rel=0.35)


def test_too_few_completions_tell_nothing():
    served = completions(EngineCost(slots=16), 1.05)
    few = ServedRequests(*(getattr(served, column)[:49] for column in ServedRequest._fields))
    assert fit_costs(few) is None
    assert fit_costs(ServedRequests.of([])) is None
    assert fit_costs(replace(served, output=np.full(COUNT, math.nan))) is None


@pytest.mark.parametrize("prompt", [0.0, math.nan])
def test_without_prompts_only_tokens_cost(prompt):
    """Nothing is known of what a prompt token costs, and so it counts for what is common."""
    found = fit_costs(replace(completions(step_cost(16), 1.05), prompt=np.full(COUNT, prompt)))
    assert found.per_prompt_token.value == 0
    assert found.per_prompt_token.high > 1
    assert found.per_output_token.value == pytest.approx(1.0)
    assert found.prompt_cost == pytest.approx(PRIOR_PROMPT_COST, rel=0.01)


def test_prompts_of_some_are_taken_for_average():
    """A tenth is not counted."""
    cost = EngineCost(slots=16)
    served = completions(cost, 1.05)
    prompt = np.where(np.arange(COUNT) % 10 == 0, math.nan, served.prompt)
    found = fit_costs(replace(served, prompt=prompt))
    assert found.per_prompt_token.value == pytest.approx(cost.per_prompt_token, rel=0.15)


def test_single_absurd_reports_change_little():
    """One in fifty says that it ran a hundred times as long."""
    served = completions(EngineCost(slots=16), 1.05)
    ran = np.where(np.arange(COUNT) % 50 == 7, 100 * served.ran, served.ran)
    plain, found = fit_costs(served), fit_costs(replace(served, ran=ran))
    assert found.per_prompt_token.value == pytest.approx(plain.per_prompt_token.value, rel=0.15)
    assert found.per_output_token.value == pytest.approx(plain.per_output_token.value, rel=0.2)


def test_requests_set_apart_are_no_evidence_but_are_judged():
    served = completions(EngineCost(slots=16), 1.05)
    apart = np.arange(COUNT) % 4 == 0
    plain, found = explained(served), explained(replace(served, ran=np.where(apart, 3 * served.ran, served.ran)), apart)
    assert found.costs.per_prompt_token.value == pytest.approx(plain.costs.per_prompt_token.value, rel=0.05)
    assert np.nanmedian(found.errors[apart]) > 10 * np.nanmedian(found.errors[~apart])


@pytest.mark.parametrize(
    ("half", "least", "most"), [(0.0, 0.2, 0.2), (5e-5, 0.1, 0.19), (1.0, 0.05, 0.0501)], ids=["sure", "so", "unsure"]
)
def test_what_is_uncertain_is_drawn_to_what_is_common(half, least, most):
    """.0001 s * 40 / .02 s is .2."""
    exact = CostEstimate(0.02, 0.02, 0.02)
    costs = ServiceCosts(CostEstimate(1e-4, 1e-4 - half, 1e-4 + half), exact, exact, 40.0, 500)
    assert least - 1e-9 <= costs.prompt_cost <= most + 1e-9


def test_an_estimate_beyond_all_numbers_is_no_estimate():
    exact, absurd = CostEstimate(1e-300, 1e-300, 1e-300), CostEstimate(1e300, 0.0, 1e300)
    assert ServiceCosts(absurd, exact, exact, 1e6, 500).prompt_cost == PRIOR_PROMPT_COST


_ABSURD = st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 7.0, 1e6, 1e15, 1e300])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([None, *range(6)]), min_size=6, max_size=6), st.integers(0, 2**32 - 1), _ABSURD)
def test_whatever_is_reported_costs_are_numbers_or_unknown(kinds, seed, value):
    """Sums of squares that overflow once kept LAPACK, and all that is learned with it, busy for ever."""
    rng = np.random.default_rng(seed)
    made = {
        None: lambda: np.full(80, value),
        0: lambda: rng.choice([0.0, 1e-300, 1e-9, 1.0, 1e6, 1e15, 1e300], 80),
        1: lambda: rng.lognormal(3, 5, 80),
        2: lambda: np.arange(80) * value,
        3: lambda: np.where(rng.random(80) < 0.05, 1e300, rng.exponential(1, 80)),
        4: lambda: 1.7e9 + np.cumsum(rng.exponential(1, 80)),
        5: lambda: rng.integers(0, 3, 80).astype(np.float64),
    }
    rows = [ServedRequest(*row) for row in zip(*(made[kind]().tolist() for kind in kinds), strict=True)]
    served = ServedRequests.of(row for row in rows if row.possible)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit_costs(served)
    if found is None:
        return
    estimates = (found.per_prompt_token, found.per_output_token, found.per_request)
    assert all(0 <= e.low <= e.value <= e.high < math.inf for e in estimates)
    assert 1 <= found.running < math.inf
    assert 0 <= found.prompt_cost < math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_system_that_is_no_numbers_has_no_solution(value):
    columns = np.full((9, 3), value)
    learned = np.ones(9, dtype=np.bool_)
    with np.errstate(all="ignore"):
        found, _ = robust(Regression(columns, columns), np.ones(9), np.ones(9), learned)
    assert np.isnan(found).all()
