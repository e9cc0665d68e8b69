"""Saved seconds against what a simulated engine, which the estimate knows nothing of, really saved."""

import math
from dataclasses import replace

import numpy as np
import pytest
from rankd_client.ordering import ServedRequests, fit_costs
from support.served_both_ways import (
    ServedBothWays,
    against,
    boosted,
    by_arrival,
    served_both_ways,
    shortest,
    shuffled,
)

from rankd.quality.savings.estimate import estimate_savings
from rankd.quality.savings.replayed_pair import replay_both
from rankd.quality.savings.sample import SavingsSample
from rankd.quality.savings.values import LatencyMeasure, LatencyStatistic
from rankd.ranking.savings import state_of
from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import FixedKey
from rankd.replay.trace.trace import Trace

LATER = 1e4
"""Seconds after the last one ended."""
MEMORY = EngineCost(slots=256, per_prompt_token=0.00004, kv_tokens=64_000)


def costs_of(rows):
    arrival, waited, ran, output, prompt = rows.T
    return fit_costs(ServedRequests(arrival, waited, ran, output, output, prompt))


def estimated(rows, now, since=-math.inf, **options):
    return estimate_savings(SavingsSample.of(rows, since), costs_of(rows), now, **options)


def figure(found, measure=LatencyMeasure.END_TO_END, statistic=LatencyStatistic.MEAN):
    return next(one for one in found.latencies if (one.measure, one.statistic) == (measure, statistic))


@pytest.mark.parametrize(
    ("key", "load", "cost", "state"),
    [
        (boosted, 1.05, None, "gains"),
        (boosted, 1.3, None, "gains"),
        (boosted, 1.2, MEMORY, "gains"),
        (against, 1.05, None, "loses"),
        (shuffled, 1.05, None, "no_gain"),
        (boosted, 0.3, None, "no_queue"),
    ],
)
def test_the_interval_holds_what_was_saved(key, load, cost, state):
    """Mean of the end-to-end latency, whatever engine and order; and what it comes to."""
    served = served_both_ways(key, load, **({} if cost is None else {"cost": cost}))
    found = estimated(served.rows, LATER)
    mean = found.mean
    assert mean.low - 0.001 <= served.saved.mean() <= mean.high + 0.001
    assert state_of(found).value == state
    assert figure(found).observed == pytest.approx((served.ranked.finish - served.trace.arrival).mean())
    assert figure(found).arrival_order == pytest.approx(figure(found).observed + mean.value)
    if state == "gains":
        assert mean.high - mean.low < 2 * mean.value, "and it is of use"


@pytest.mark.parametrize("load", [0.3, 1.1])
def test_the_first_token_is_told_when_it_came(load):
    """Reports do not say when: it takes reading the prompt, and the iteration that makes the token."""
    served = served_both_ways(boosted, load)
    found = estimated(served.rows, LATER)
    took = served.ranked.first_token - served.trace.arrival
    for statistic, true in ((LatencyStatistic.MEAN, took.mean()), (LatencyStatistic.P50, np.median(took))):
        told = figure(found, LatencyMeasure.FIRST_TOKEN, statistic).observed
        assert told == pytest.approx(true, rel=0.25, abs=0.005)


def test_waits_for_the_next_iteration_are_no_queue():
    """Short answers beside long ones, first few and then too many: what ran at first was no limit of the engine."""
    rng = np.random.default_rng(0)
    medians = rng.choice([12, 20, 30, 60, 300, 800, 1100], 1100, p=[0.2, 0.2, 0.15, 0.15, 0.15, 0.08, 0.07])
    output = np.maximum(medians * np.exp(0.4 * rng.standard_normal(1100)), 1).astype(np.int64)
    prompt = np.clip(rng.lognormal(5.7, 0.8, 1100), 8, 4000).astype(np.int64)
    gaps = rng.exponential(1, 1100) * np.where(np.arange(1100) < 400, 3.0, 1.0)
    cost = EngineCost(slots=12, base=0.02, per_sequence=0.0004, per_prompt_token=0.00006, chunk=1024)
    trace = at_load(Trace(np.cumsum(gaps), prompt, output), cost, 0.6)
    keys = trace.arrival + 8 * np.log(output * np.exp(0.5 * rng.standard_normal(1100)))
    orders = FixedKey(trace, keys), FixedKey(trace, trace.arrival)
    served = ServedBothWays(trace, *(run(trace, order, cost) for order in orders))
    pair = replay_both(SavingsSample.of(served.rows, -math.inf), costs_of(served.rows), LATER)
    replayed, seen = (one.end_to_end[:400].mean() for one in (pair.as_started, pair.observed))
    assert replayed == pytest.approx(seen, rel=0.02)
    mean = estimated(served.rows, LATER).mean
    assert mean.value == pytest.approx(served.saved.mean(), rel=0.4)
    assert mean.high - mean.low < 2 * mean.value, "and it is of use"


def test_who_pays_is_told():
    """The shortest gain most, the longest pay; shares and means are of the same requests."""
    served = served_both_ways(boosted, 1.1)
    found = estimated(served.rows, LATER)
    saved = [one.saved.value for one in found.payers]
    assert saved[0] > 0 > saved[3]
    assert [one.completions for one in found.payers] == [375] * 4
    assert np.mean(saved) == pytest.approx(found.mean.value)
    slower = served.saved < 0
    assert found.slower_share == pytest.approx(slower.mean(), abs=0.08)
    assert found.slower_by == pytest.approx(-served.saved[slower].mean(), rel=0.4)


def test_arrival_order_saves_exactly_nothing():
    """Also where times are reported with small errors, and those that came together started in any order."""
    served = served_both_ways(by_arrival, 1.2)
    rows = served.rows
    rows[:, 0] += np.random.default_rng(0).uniform(0, 0.02, len(rows))
    found = estimated(rows, LATER)
    assert all((one.saved.value, one.saved.low, one.saved.high) == (0, 0, 0) for one in found.latencies)
    assert state_of(found).value == "no_gain"
    assert found.slower_share == 0


def test_where_nothing_waits_nothing_is_saved():
    """No order can do anything; whichever it is, this is no lack of evidence."""
    rows = served_both_ways(boosted, 0.2).rows
    found = estimated(rows, LATER)
    assert state_of(found).value == "no_queue"
    assert found.mean.low <= 0 <= found.mean.high
    assert found.queued_share < 0.05


def test_who_still_waits_is_not_left_out_unnoticed():
    """In the middle of a queue only arrivals count of which all have ended."""
    served = served_both_ways(boosted, 1.3)
    now = float(np.quantile(served.ranked.finish, 0.7))
    ended = served.ranked.finish <= now
    pair = replay_both(SavingsSample.of(served.rows[ended]), costs_of(served.rows[ended]), now)
    counted = served.trace.arrival <= pair.stretch.until
    assert counted.sum() > 300
    assert ended[counted].all()
    assert not pair.stretch.closed
    saved = estimated(served.rows[ended], now).mean
    assert saved.low <= served.saved[counted].mean() <= saved.high


def test_a_burst_is_told_once_it_has_ended():
    """While it lasts nobody knows who is still to pay."""
    served = served_both_ways(boosted, burst=True, requests=600)
    first = served.ranked.finish <= np.quantile(served.ranked.finish, 0.5)
    assert estimated(served.rows[first], float(served.ranked.finish[first].max())) is None
    found = estimated(served.rows, float(served.ranked.finish.max()) + 1000)
    assert found.completions == 600
    assert found.mean.low <= served.saved.mean() <= found.mean.high


def test_where_patience_has_no_bound_an_unended_queue_says_nothing():
    """Shortest first lets the longest wait for ever: they are in no report."""
    served = served_both_ways(shortest, 1.3)
    now = float(np.quantile(served.ranked.finish, 0.6))
    rows = served.rows[served.ranked.finish <= now]
    assert estimated(rows, now, bounded=False) is None


def test_completions_of_before_the_sample_are_thought_of():
    """The latest completions only: the replay begins with those that waited and ran then."""
    served = served_both_ways(boosted, 1.1, requests=2500)
    order = np.argsort(served.ranked.finish)
    since, rows = float(served.ranked.finish[order[999]]), served.rows[np.sort(order[1000:])]
    pair = replay_both(SavingsSample.of(rows, since), costs_of(rows), LATER)
    assert pair.stretch.since >= since
    counted = served.trace.arrival >= pair.stretch.since
    found = estimated(rows, LATER, since)
    assert found.mean.low <= served.saved[counted].mean() <= found.mean.high


def test_the_total_adds_up_over_disjoint_stretches():
    """What was counted is not counted again."""
    rows = served_both_ways(boosted, 1.05).rows
    half = float(np.median(rows[:, 0]))
    whole, later = estimated(rows, LATER), estimated(rows, LATER, counted_until=half)
    assert whole.newest.completions == len(rows)
    assert later.newest.completions == (rows[:, 0] > half).sum()
    first = replace(whole.newest, until=half, completions=whole.newest.completions - later.newest.completions)
    both = first.and_then(later.newest)
    assert (both.since, both.until, both.completions) == (whole.newest.since, whole.newest.until, len(rows))
    assert estimated(rows, LATER, counted_until=LATER).newest is None


def test_prompts_that_nobody_counts_and_costs_that_are_not_known():
    """Runs as they were seen stand in for what requests take."""
    served = served_both_ways(boosted, 1.1)
    rows = served.rows
    rows[:, 4] = math.nan
    found = estimate_savings(SavingsSample.of(rows), None, LATER)
    assert found.mean.value == pytest.approx(served.saved.mean(), rel=0.5)
    assert estimate_savings(SavingsSample.of(rows[:50]), None, LATER) is None
