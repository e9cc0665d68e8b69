"""Prompts alone: when the guard lets them order instead of arrival, or instead of expected work."""

from __future__ import annotations

import numpy as np
import pytest

from rankd.quality import (
    Cohort,
    CohortTau,
    Guard,
    GuardEvidence,
    GuardReason,
    GuardSnapshot,
    HealthEvidence,
    Interval,
    PromptEvidence,
    QualitySettings,
    WorkModel,
)
from rankd.types import GuardMode

RANKED, FALLBACK = GuardMode.RANKED, GuardMode.FALLBACK
GOOD, BAD, MIDDLE = (0.3, 0.4), (-0.1, 0.05), (0.1, 0.2)
HELPS, HARMS, EVEN = (0.02, 0.1), (-0.1, -0.02), (-0.05, 0.05)


def interval(bounds):
    return Interval(sum(bounds) / 2, *bounds)


def tau_of(bounds, known=300):
    return CohortTau(interval(bounds) if bounds else None, 320, known, 1, 1.0, 100)


def look(work, prompts=None, step=EVEN, *, known=300, without=(), steps=()):
    """Evidence with these bounds of expected work, of prompts alone, and of the difference."""
    alone = prompts and PromptEvidence(tau_of(prompts, known), without, step and interval(step), steps)
    return GuardEvidence(0.0, 0, tau_of(work, known), without, 0.0, alone)


def show(guard, evidence, at, count=2):
    return [guard.observe_quality(evidence, at + k) for k in range(count)][-1]


def fallen(prompts=GOOD):
    """A guard that fell for the scores, with such evidence of prompts alone."""
    guard = Guard(measured=True)
    show(guard, look(GOOD), 0.0)
    show(guard, look(BAD, prompts), 100.0)
    assert (guard.mode, guard.cause) == (FALLBACK, GuardReason.QUALITY)
    return guard


def test_before_there_is_evidence_nothing_is_ignored():
    """A measured ranker ranks by its scores, one that was not ranks nothing."""
    for measured in (True, False):
        guard = Guard(measured=measured)
        assert (guard.ranks, guard.ignores_lengths, guard.order_tau_low) == (measured, False, None)
        show(guard, look(GOOD), 0.0)
        assert not guard.ignores_lengths


def test_prompts_that_were_proven_order_in_fallback():
    """By the lower bound of their own tau; until they are found to be bad themselves."""
    guard = fallen(GOOD)
    assert (guard.ranks, guard.ignores_lengths) == (False, True)
    assert guard.order_tau_low == pytest.approx(0.3)
    show(guard, look(BAD, MIDDLE), 200.0, 5)
    assert guard.ignores_lengths, "neither good nor bad: as before"
    show(guard, look(BAD, BAD), 300.0, 1)
    assert guard.ignores_lengths, "one look is no reason"
    show(guard, look(BAD, BAD), 301.0, 1)
    assert not guard.ignores_lengths


@pytest.mark.parametrize("prompts", [MIDDLE, BAD, None])
def test_without_proof_it_is_arrival_order(prompts):
    """Where prompts order little, nothing, or were not counted."""
    guard = fallen(prompts)
    assert (guard.ranks, guard.ignores_lengths) == (False, False)


def test_scores_count_again_once_the_guard_recovered():
    """Unless prompts alone still do better."""
    guard = fallen()
    back = show(guard, look(GOOD, GOOD, EVEN), 500.0)
    assert (back.to, back.reason) == (RANKED, GuardReason.RECOVERED)
    assert not guard.ignores_lengths
    guard = fallen()
    show(guard, look(GOOD, GOOD, HARMS), 500.0)
    assert (guard.mode, guard.ignores_lengths) == (RANKED, True)
    show(guard, look(GOOD, GOOD, HELPS), 600.0)
    assert (guard.mode, guard.ignores_lengths) == (RANKED, False)


def test_lengths_that_spoil_the_order_by_prompts_are_dropped_while_ranked():
    """With hysteresis: dropped when significantly worse twice, back when significantly better twice."""
    guard = Guard(measured=True)
    show(guard, look(GOOD, GOOD, EVEN), 0.0)
    show(guard, look(MIDDLE, GOOD, HARMS), 100.0, 1)
    assert not guard.ignores_lengths
    show(guard, look(MIDDLE, GOOD, HARMS), 101.0, 1)
    assert (guard.mode, guard.ignores_lengths, guard.ranks) == (RANKED, True, True)
    assert guard.order_tau_low == pytest.approx(0.3)
    show(guard, look(GOOD, GOOD, EVEN), 200.0, 9)
    assert guard.ignores_lengths
    show(guard, look(GOOD, GOOD, HELPS), 300.0, 1)
    assert guard.ignores_lengths
    show(guard, look(GOOD, GOOD, HELPS), 301.0, 1)
    assert not guard.ignores_lengths


def test_one_tenant_neither_proves_prompts_nor_drops_lengths():
    """Every figure must say the same without each one that brought much."""
    guard = Guard(measured=True)
    show(guard, look(GOOD, GOOD, HARMS, without=(0.5, 0.1), steps=(-0.1, 0.01)), 0.0, 9)
    assert not guard.ignores_lengths
    show(guard, look(BAD, GOOD, HARMS, without=(0.1, 0.05)), 100.0, 9)
    assert (guard.mode, guard.ignores_lengths) == (FALLBACK, False)


@pytest.mark.parametrize("thin", [look(None), look(GOOD, GOOD, HELPS, known=199), look(BAD)])
def test_thin_evidence_keeps_what_was_found(thin):
    """And confirming starts anew."""
    guard = Guard(measured=True)
    show(guard, look(GOOD, GOOD, HARMS), 0.0)
    show(guard, thin, 10.0, 1)
    assert guard.ignores_lengths
    show(guard, look(GOOD, GOOD, HELPS), 20.0, 1)
    show(guard, thin, 30.0, 1)
    show(guard, look(GOOD, GOOD, HELPS), 40.0, 1)
    assert guard.ignores_lengths


def test_a_pin_says_what_orders():
    """Arrival where it says fallback, scores where it says ranked; afterwards it is as it was."""
    guard = fallen()
    guard.pin(FALLBACK, 900.0, 400.0)
    assert (guard.ranks, guard.ignores_lengths) == (False, False)
    guard.pin(RANKED, 900.0, 410.0)
    assert (guard.ranks, guard.ignores_lengths, guard.order_tau_low) == (True, False, None)
    guard.unpin(500.0)
    assert (guard.ranks, guard.ignores_lengths) == (False, True)


def test_where_scoring_fails_prompts_order_if_they_were_proven():
    """Scores are not to be had, prompts are."""
    for prompts in (GOOD, MIDDLE):
        guard = Guard(measured=True)
        show(guard, look(GOOD, prompts), 0.0)
        guard.observe_health(HealthEvidence(5, 5, 5, 0, 0.1), 100.0)
        assert (guard.mode, guard.cause) == (FALLBACK, GuardReason.ERRORS)
        assert guard.ignores_lengths is (prompts is GOOD)
        guard.observe_health(HealthEvidence(64, 5, 0, 30, 0.1), 500.0)
        assert (guard.mode, guard.ignores_lengths) == (RANKED, False)


def test_a_fleet_ignores_what_its_leader_ignores():
    """Standing is all that it takes."""
    leader, follower = fallen(), Guard(measured=True)
    follower.adopt(leader.standing, 300.0)
    assert (follower.mode, follower.ignores_lengths, follower.order_tau_low) == (FALLBACK, True, leader.order_tau_low)
    assert follower.standing == leader.standing
    follower.adopt(Guard(measured=True).standing, 400.0)
    assert not follower.ignores_lengths


def requests(seed, quality, n=320):
    """A cohort whose answers are as long as expected (1), as chance has it (0), or the other way round (-1)."""
    rng = np.random.default_rng(seed)
    score, noise = rng.standard_normal(n), rng.standard_normal(n)
    known = noise if quality == 0 else quality * 0.8 * score + 0.6 * noise
    length = np.maximum(1, np.exp(5 + known)).astype(np.int64)
    prompt = np.exp(7 + rng.standard_normal(n)).astype(np.int64)
    return Cohort(score, length, np.ones(n, dtype=bool), prompt=prompt)


def test_an_order_by_prompts_outlives_a_ranker_that_turns_useless_or_harmful_and_ends_when_it_is_good_again():
    """Whole looks at made-up requests, each a cohort of its own, with what was expected before the ranker turned."""
    model = WorkModel(0.1, lambda score: np.exp(5 + 0.8 * score))
    guard, at = Guard(measured=True), 0.0

    def live(quality, looks):
        nonlocal at
        for _ in range(looks):
            at += 100.0
            guard.observe_quality(
                GuardSnapshot(at, QualitySettings(), 320, requests(int(at), quality), model).evaluate(), at
            )

    live(1, 4)
    assert (guard.ranks, guard.ignores_lengths) == (True, False)
    for turned in (0, -1):
        live(turned, 4)
        assert guard.ignores_lengths
        assert guard.order_tau_low > 0.19
        live(1, 4)
        assert (guard.ranks, guard.ignores_lengths) == (True, False)
