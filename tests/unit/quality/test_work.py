"""Expected against realised work: what a cohort's order is judged by where prompts cost something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from support.examples import examples

from benchmarks import queue_simulation as queue
from rankd.quality import Cohort, GuardSnapshot, QualitySettings, QualityTracker, WorkModel
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.work import realised_gain, work_cohorts

FAR, COST = 16384, 0.1
SETTINGS = QualitySettings()
HONEST, OTHER, LIAR = 7, 11, 13


def lengths_of(score):
    """What is expected of a score that ``queue.draw`` gave."""
    return np.exp(5.0) * score**0.5


def drawn(n=400, rho=0.75, seed=1, spread=1.0):
    """Scores, lengths and prompts of requests that all ended."""
    rng = np.random.default_rng(seed)
    score, length = queue.draw("gauss", n, rng, rho)
    return score, length, np.exp(7 + spread * rng.standard_normal(n)).astype(np.int64)


def evidence(cohort, expected=lengths_of, cost=COST):
    return GuardSnapshot(0.0, SETTINGS, len(cohort.score), cohort, WorkModel(cost, expected)).evaluate()


def test_without_prompt_counts_every_figure_is_that_of_lengths():
    """Exactly, in an overloaded queue; whatever prompts would cost, and where they are counted and cost nothing."""
    rng = np.random.default_rng(3)
    score, length = queue.draw("gauss", 1500, rng)
    run = queue.serve(score, length, 1.3, rng)
    trackers = []
    for prompt in (None, np.zeros(1500, dtype=np.int64), np.full(1500, 900)):
        run.prompt = prompt
        tracker = QualityTracker()
        trackers.append((tracker, queue.feed(tracker, run)))
    (plain, now), (none, _), (free, _) = trackers
    model = WorkModel(COST, lengths_of)
    before = plain.guard_snapshot(now).evaluate()
    assert before.tau.decided_pair_share < 0.98
    assert plain.guard_snapshot(now, model).evaluate() == before
    assert none.guard_snapshot(now, model).evaluate() == before
    assert free.guard_snapshot(now, WorkModel(0.0, lengths_of)).evaluate() == before
    estimate = plain.snapshot(now).evaluate()
    assert plain.snapshot(now, model).evaluate() == estimate
    assert (estimate.work_tau, estimate.prompt_work_tau) == (estimate.tau, None)
    assert estimate.realised_work_gain == estimate.realised_gain


def test_what_all_is_known_of_is_scipy_of_work_and_no_prompt_is_cut():
    """Prompts are beyond the horizon of lengths, and count in full."""
    score, length, prompt = drawn(spread=2.0)
    prompt[:40] = 2_000_000
    found = evidence(Cohort(score, length, np.ones(400, dtype=bool), prompt=prompt))
    part = np.rint(COST * prompt)
    assert part.max() > 10 * FAR
    expected = kendalltau(lengths_of(score) + COST * prompt, np.minimum(length, FAR) + part).statistic
    assert found.tau.tau.value == pytest.approx(expected, abs=1e-12)
    alone = kendalltau(prompt, np.minimum(length, FAR) + part).statistic
    assert found.prompts.tau.tau.value == pytest.approx(alone, abs=1e-12)
    assert found.prompts.difference.value == pytest.approx(expected - alone, abs=1e-12)


@pytest.mark.parametrize("load", [1.1, 1.6])
def test_an_overloaded_queue_served_by_expected_work_is_judged_as_if_all_had_ended(load):
    """Those that wait longest are the ones expected to be most work: finished requests alone would mislead."""
    score, length, prompt = drawn(3000)
    expected = lengths_of(score) + COST * prompt
    run = queue.serve(score, length, load, np.random.default_rng(5), key=expected)
    run.prompt = prompt
    tracker = QualityTracker()
    now = queue.feed(tracker, run)
    got = tracker.snapshot(now, WorkModel(COST, lengths_of)).evaluate()
    cohort = tracker.snapshot(now).cohort
    of = dict(zip(score.tolist(), (length + np.rint(COST * prompt)).tolist(), strict=True))
    work = np.array([of[s] for s in cohort.score.tolist()])
    true = kendalltau(lengths_of(cohort.score) + COST * cohort.prompt, work).statistic
    finished = kendalltau((lengths_of(cohort.score) + COST * cohort.prompt)[cohort.complete], work[cohort.complete])
    assert got.work_tau.value == pytest.approx(true, abs=0.025)
    assert got.work_tau.low < true < got.work_tau.high
    assert abs(got.work_tau.value - true) < abs(finished.statistic - true)


def test_a_request_that_waits_has_not_started_however_long_its_prompt():
    """Without enough that started there is no tau, as ever."""
    score, length, prompt = drawn()
    done = np.arange(400) < 20
    works = work_cohorts(Cohort(score, np.where(done, length, 0), done, prompt=prompt), WorkModel(COST, lengths_of))
    assert cohort_tau(works.expected, FAR, 1.96, 50).tau is None


def test_prompts_that_were_not_counted_are_taken_to_be_middling():
    """They do not make the order look better, nor much worse."""
    score, length, prompt = drawn(4000)
    whole = evidence(Cohort(score, length, np.ones(4000, dtype=bool), prompt=prompt)).tau.tau.value
    some = np.where(np.random.default_rng(4).random(4000) < 0.3, -1, prompt)
    works = work_cohorts(Cohort(score, length, np.ones(4000, dtype=bool), prompt=some), WorkModel(COST, lengths_of))
    assert (works.expected.prompt_work[some < 0] == np.rint(COST * np.median(some[some >= 0]))).all()
    assert cohort_tau(works.expected, FAR, 1.96, 50).tau.value == pytest.approx(whole - 0.02, abs=0.02)


@pytest.mark.parametrize(("rho", "sign"), [(0.75, 1), (0.0, -1), (-0.6, -1)])
def test_lengths_that_help_or_harm_are_told_from_prompts_alone(rho, sign):
    """Expected as if rho were .75: where it is none, what is expected spoils the order by prompts."""
    score, length, prompt = drawn(320, rho)
    cohort = Cohort(score, length, np.ones(320, dtype=bool), prompt=prompt)
    step = evidence(cohort).prompts.difference
    assert (step.low > 0) if sign > 0 else (step.high < 0)
    flat = evidence(cohort, expected=lambda s: np.full(len(s), 200.0)).prompts.difference
    assert flat.low <= 0 <= flat.high, "lengths that are all alike change nothing"


def test_realised_gain_of_work_is_one_for_an_oracle_and_zero_for_none():
    """Over those that ended."""
    score, length, prompt = drawn()
    done = np.arange(400) % 3 > 0
    cohort = Cohort(length.astype(float), np.where(done, length, 0), done, prompt=prompt)
    works = work_cohorts(cohort, WorkModel(COST, lambda s: s))
    assert realised_gain(works.expected, FAR, 1.96).value == pytest.approx(1.0, abs=1e-3)
    shuffled = Cohort(np.random.default_rng(2).permutation(score), length, done, prompt=np.full(400, 9))
    works = work_cohorts(shuffled, WorkModel(COST, lengths_of))
    assert abs(realised_gain(works.expected, FAR, 1.96).value) < 0.15


def poisoned(share, rho, seed=1, others=(HONEST,)):
    """Half or less of a cohort is of a tenant that claims huge prompts, some more so than others."""
    score, length, prompt = drawn(320, rho, seed)
    rng = np.random.default_rng(seed + 50)
    lies = rng.random(320) < share
    prompt = np.where(lies, rng.integers(10**6, 10**9, 320), np.minimum(prompt, 50))
    source = np.where(lies, LIAR, rng.choice(others, 320)).astype(np.uint64)
    return Cohort(score, length, np.ones(320, dtype=bool), source, prompt), lies


@pytest.mark.parametrize("rho", [0.0, -0.5])
def test_invented_prompts_of_one_tenant_do_not_stand_in_for_the_others(rho):
    """With them all looks concordant; without that tenant nothing is, and the evidence says so."""
    cohort, _ = poisoned(0.45, rho)
    found = evidence(cohort)
    assert found.tau.tau.low > 0.3
    assert min(found.without) < 0.14
    assert min(found.prompts.without) < 0.19


def test_a_tenant_whose_prompts_contradict_two_others_is_left_out():
    """Of the order by expected work and of that by prompts alone."""
    cohort, lies = poisoned(0.4, -0.5, others=(HONEST, OTHER))
    found = evidence(cohort)
    assert found.left_out == pytest.approx(lies.mean())
    assert found.tau.tau.high < 0.14
    assert found.prompts.tau.size == 320 - lies.sum()


counts = st.integers(-1, 2**31 - 1)
tokens = st.one_of(st.integers(0, 300), st.integers(0, 2**31 - 1))
rows = st.lists(st.tuples(st.floats(-1e6, 1e6), tokens, st.booleans(), counts, st.sampled_from([0, 7])), max_size=90)


@given(rows, st.sampled_from([0.0, 1e-6, 0.26, 1e6]))
@settings(max_examples=examples(60), deadline=None)
def test_whatever_was_reported_makes_figures_that_can_be(reported, cost):
    """Finite, within -1 to 1, with the bounds round the value."""
    score, tokens, complete, prompt, source = zip(*reported, strict=True) if reported else [[]] * 5
    cohort = Cohort(
        np.array(score, dtype=float),
        np.array(tokens, dtype=np.int64),
        np.array(complete, dtype=bool),
        np.array(source, dtype=np.uint64),
        np.array(prompt, dtype=np.int64),
    )
    found = evidence(cohort, expected=np.abs, cost=cost)
    for tau in (found.tau.tau, found.prompts and found.prompts.tau.tau):
        assert tau is None or -1 <= tau.low <= tau.value <= tau.high <= 1
    step = found.prompts and found.prompts.difference
    assert step is None or -2 <= step.low <= step.value <= step.high <= 2
