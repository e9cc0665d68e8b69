"""The proof of what was learned: its figures against plain definitions, its switches on small streams."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from rankd.adaptation.evidence import RECENT, Evidence, Finding
from rankd.adaptation.proof import (
    FORGIVEN,
    LEAST,
    LONGEST_STAY,
    AdaptationState,
    Proof,
    deviations,
)
from rankd.quality.statistics.interval import Interval

LOOK = 32


def fed(proof: Proof, rng: np.random.Generator, size: int, base: float, learned: float) -> list[int]:
    """Add completions whose scores have these correlations with log length, look now and then; after how many of
    them it switched.
    """
    found = []
    for at in range(size):
        log = rng.standard_normal()
        scores = [rho * log + math.sqrt(1 - rho * rho) * rng.standard_normal() for rho in (base, learned)]
        proof.add(scores[0], scores[1], int(math.exp(5 + log)) + 1, True)
        if proof.seen % LOOK == 0:
            before = proof.switches
            proof.decide(proof.evidence().evaluate(), float(at))
            found += [at] if proof.switches != before else []
    return found


def finding(proof: Proof, difference: float, deviation: float = 0.01, compared: int = 1024) -> Finding:
    interval = Interval(difference, difference - 1.96 * deviation, difference + 1.96 * deviation)
    return Finding(proof.seen, compared, interval, interval, interval, interval, proof.switches)


def after(proof: Proof, completions: int) -> None:
    for _ in range(completions):
        proof.add(0.0, 0.0, 1, True)


def test_the_difference_is_that_of_the_two_tau() -> None:
    rng, proof = np.random.default_rng(1), Proof()
    columns = rng.standard_normal((2, 300)), rng.integers(1, 60, 300)
    for base, learned, tokens in zip(*columns[0], columns[1], strict=True):
        proof.add(base, learned, int(tokens), True)
    found = proof.evidence().evaluate()
    base, learned = (kendalltau(column, columns[1]).statistic for column in columns[0])
    assert found.base is not None
    assert found.learned is not None
    assert found.difference is not None
    assert (found.base.value, found.learned.value) == (pytest.approx(base), pytest.approx(learned))
    assert found.difference.value == pytest.approx(learned - base)
    recent = [kendalltau(column[-RECENT:], columns[1][-RECENT:]).statistic for column in columns[0]]
    assert found.recent is not None
    assert found.recent.value == pytest.approx(recent[1] - recent[0])


def test_a_length_that_is_only_bounded_counts_where_the_order_is_known() -> None:
    rng, proof = np.random.default_rng(2), Proof()
    rows = [(*rng.standard_normal(2).tolist(), int(rng.integers(1, 40)), bool(rng.random() < 0.7)) for _ in range(60)]
    for row in rows:
        proof.add(*row)
    found = proof.evidence().evaluate()
    agree = length = 0
    for (_, one, short, complete), (_, other, long, _) in itertools.permutations(rows, 2):
        # Known to be the shorter one: it ended, and the other has produced more.
        if complete and short < long:
            agree += int(np.sign(other - one))
            length += 1
    assert found.learned is not None
    assert found.learned.value == pytest.approx(agree / length, abs=0.02)  # ties in length of known rows differ


@pytest.mark.parametrize("over", [lambda base: base, lambda base: math.exp(base) - 7])
def test_the_ranker_s_own_order_never_comes_into_use(over) -> None:  # type: ignore[no-untyped-def]
    rng, proof = np.random.default_rng(3), Proof()
    for _ in range(1500):
        base = float(rng.standard_normal())
        proof.add(base, over(base), int(math.exp(5 + base + rng.standard_normal())) + 1, True)
        if proof.seen % 128 == 0:
            proof.decide(proof.evidence().evaluate(), 0.0)
    assert proof.switches == 0
    assert proof.state is AdaptationState.NOT_BETTER
    assert proof.finding is not None
    assert proof.finding.difference == Interval(0.0, 0.0, 0.0)


def test_a_plain_gain_is_used_early_and_left_within_200_when_it_turns() -> None:
    rng, proof = np.random.default_rng(4), Proof()
    assert proof.state is AdaptationState.LEARNING
    into = fed(proof, rng, 600, 0.3, 0.8)
    assert len(into) == 1
    assert into[0] < 200
    assert proof.in_use
    assert proof.since == float(into[0])
    back = fed(proof, rng, 200, 0.5, -0.2)
    assert len(back) == 1
    assert proof.state is AdaptationState.STEPPED_BACK
    again = fed(proof, rng, 600, 0.3, 0.8)
    assert len(again) == 1
    assert proof.in_use
    assert proof.switches == 3


def test_too_few_say_nothing() -> None:
    proof = Proof()
    after(proof, LEAST - 1)
    assert proof.decide(finding(proof, 0.5, compared=LEAST - 1), 0.0) is AdaptationState.LEARNING
    after(proof, 1)
    assert proof.decide(finding(proof, 0.5, compared=LEAST), 0.0) is AdaptationState.IN_USE


def test_a_gain_that_is_unsure_or_tiny_is_none() -> None:
    proof = Proof()
    after(proof, 500)
    assert proof.decide(finding(proof, 0.05, deviation=0.02), 0.0) is AdaptationState.NOT_BETTER
    assert proof.decide(finding(proof, 0.005, deviation=0.0005), 0.0) is AdaptationState.NOT_BETTER


def test_a_gain_that_the_latest_show_plainly_is_used_though_all_together_do_not() -> None:
    """What the first heads predicted was poor; the present one is judged by what it predicts."""
    for deviation, state in ((0.03, AdaptationState.IN_USE), (0.05, AdaptationState.NOT_BETTER)):
        proof = Proof()
        after(proof, 500)
        recent = Interval(0.18, 0.18 - 1.96 * deviation, 0.18 + 1.96 * deviation)
        assert proof.decide(replace(finding(proof, 0.06, 0.03, compared=400), recent=recent), 1.0) is state


def test_the_way_back_into_use_doubles_with_each_step_back_up_to_a_bound_and_is_forgiven() -> None:
    proof, stays = Proof(), []
    for _ in range(8):
        after(proof, LEAST)
        while not proof.in_use:
            after(proof, 10)
            proof.decide(finding(proof, 0.3), 0.0)
        left = proof.seen
        proof.decide(finding(proof, -0.3), 0.0)
        assert not proof.in_use
        while proof.decide(finding(proof, 0.3), 0.0) is not AdaptationState.IN_USE:
            after(proof, 1)
        stays.append(proof.seen - left)
        proof.decide(finding(proof, -0.3), 0.0)
    assert stays[0] == LEAST
    assert stays[-1] == LONGEST_STAY
    assert stays == sorted(stays)
    while not proof.in_use:
        after(proof, 10)
        proof.decide(finding(proof, 0.3), 0.0)
    after(proof, FORGIVEN)
    proof.decide(finding(proof, 0.3), 0.0)
    left = proof.seen
    proof.decide(finding(proof, -0.3), 0.0)
    while proof.decide(finding(proof, 0.3), 0.0) is not AdaptationState.IN_USE:
        after(proof, 1)
    assert proof.seen - left == LEAST


def test_what_came_before_a_step_back_does_not_count_after_it() -> None:
    rng, proof = np.random.default_rng(5), Proof()
    fed(proof, rng, 320, 0.2, 0.8)
    proof.decide(finding(proof, -0.3), 0.0)
    assert proof.state is AdaptationState.STEPPED_BACK
    assert proof.evidence().evaluate().compared == 0
    fed(proof, rng, 31, 0.2, 0.8)
    assert proof.evidence().evaluate().compared == 31


def test_evidence_of_before_a_switch_decides_nothing() -> None:
    proof = Proof()
    after(proof, 200)
    old = finding(proof, -0.5)
    proof.decide(finding(proof, 0.5), 0.0)
    assert proof.decide(old, 1.0) is AdaptationState.IN_USE
    assert proof.decide(finding(proof, -0.5), 2.0) is AdaptationState.STEPPED_BACK
    assert (proof.since, proof.switches) == (2.0, 2)


def test_a_long_run_below_the_ranker_ends_use_even_where_it_is_not_sure() -> None:
    proof = Proof()
    after(proof, 1024)
    proof.decide(finding(proof, 0.5), 0.0)
    slightly = finding(proof, -0.001, deviation=0.05)
    assert proof.decide(slightly, 1.0) is AdaptationState.STEPPED_BACK


def test_reports_of_a_source_are_left_out_and_equal_prompts_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(6)
    rows = [(*rng.standard_normal(2).tolist(), int(rng.integers(1, 400)), True) for _ in range(150)]
    alone, copies, with_other = Proof(), Proof(), Proof()
    for number, row in enumerate(rows, start=1):
        alone.add(*row, prompt=number)
        with_other.add(*row, source=1)
        with_other.add(*row[::-1][2:], 7, True, source=2)
        for _ in range(4):
            copies.add(*row, prompt=number)
    found, clustered = alone.evidence().evaluate().difference, copies.evidence().evaluate().difference
    assert found is not None
    assert clustered is not None
    assert clustered.high - clustered.low == pytest.approx(found.high - found.low, rel=0.2)
    left = with_other.evidence().evaluate(frozenset({2}))
    assert left.compared == 150
    assert left.difference is not None
    assert left.difference.value == pytest.approx(found.value)


def test_scores_that_are_none_are_left_out_and_memory_is_bounded() -> None:
    proof = Proof(size=64)
    for bad in (math.nan, math.inf):
        proof.add(bad, 1.0, 5, True)
        proof.add(1.0, bad, 5, True)
    assert proof.seen == 0
    for at in range(200):
        proof.add(float(at), -float(at), at, True)
    evidence = proof.evidence()
    assert evidence.base.tolist() == list(map(float, range(136, 200)))
    assert evidence.tokens.tolist() == list(range(136, 200))


def test_a_replica_follows_its_fleet() -> None:
    proof = Proof()
    assert not proof.follow(False, 1.0)
    assert proof.follow(True, 2.0)
    assert proof.in_use
    assert (proof.since, proof.switches) == (2.0, 1)
    assert proof.follow(False, 3.0)
    assert proof.state is AdaptationState.STEPPED_BACK


def test_a_restart_goes_on_where_it_was() -> None:
    rng, proof = np.random.default_rng(7), Proof()
    fed(proof, rng, 400, 0.2, 0.8)
    proof.decide(finding(proof, -0.4), 0.0)
    fed(proof, rng, 50, 0.2, 0.8)
    saved = proof.save()
    other = Proof()
    other.restore(saved)
    assert (other.state, other.since, other.switches) == (proof.state, proof.since, proof.switches)
    assert other.evidence().evaluate().difference == proof.evidence().evaluate().difference
    assert other.save().keys() == saved.keys()
    assert other.save()["stay"] == saved["stay"] > 0


@pytest.mark.parametrize(
    ("name", "value"), [("base", [1.0]), ("state", "??"), ("tokens", [math.nan]), ("switches", None), ("base", [[1.0]])]
)
def test_a_saved_state_that_cannot_be_is_refused_and_changes_nothing(name: str, value: object) -> None:
    proof = Proof()
    after(proof, 3)
    saved = {**proof.save(), name: value}
    other = Proof()
    with pytest.raises((ValueError, TypeError)):
        other.restore(saved)
    assert (other.seen, other.state) == (0, AdaptationState.LEARNING)


def test_deviations_of_a_difference() -> None:
    assert deviations(Interval(0.0, 0.0, 0.0)) == 0.0
    assert deviations(Interval(0.1, 0.1, 0.1)) == math.inf
    assert deviations(Interval(-0.1, -0.1, -0.1)) == -math.inf
    half = 0.02 * 1.959964
    low, high = (2 * math.tanh(math.atanh(0.05) + sign * half) for sign in (-1, 1))
    assert deviations(Interval(0.1, low, high)) == pytest.approx(math.atanh(0.05) / 0.02)


def test_the_reported_interval_holds_the_truth() -> None:
    rng, held = np.random.default_rng(8), 0
    truth = 2 / math.pi * (math.asin(0.6) - math.asin(0.4))
    for _ in range(200):
        log = rng.standard_normal(256)
        scores = [rho * log + math.sqrt(1 - rho * rho) * rng.standard_normal(256) for rho in (0.4, 0.6)]
        tokens = np.maximum(1, np.exp(6 + log)).astype(np.int64)
        none, known = np.zeros(256, np.int64), np.ones(256, bool)
        rest = none, none.astype(np.uint64), np.arange(256.0), -1.0, -1.0, 256
        found = Evidence(*scores, tokens, known, *rest).evaluate().difference
        held += found is not None and found.low <= truth <= found.high
    assert 184 <= held <= 199
