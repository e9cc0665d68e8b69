"""The censoring-aware tau against whole cohorts that only the simulation knows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks import queue_simulation as queue
from rankd.quality import Cohort, QualityTracker
from rankd.quality.censoring import cohort_tau as censored
from rankd.quality.censoring import imputation as impute
from rankd.quality.censoring import ordinal_probit as latent
from rankd.quality.censoring.cohort_tau import cohort_tau, effective_horizon

FAR = 16384


def truth(score, length, horizon: int) -> float:
    """Tau-b of lengths cut at a horizon."""
    return float(kendalltau(score, np.minimum(length, horizon)).statistic)


def through_a_queue(kind: str, load: float, seed: int, n: int = 3500):
    """Serve by score, report everything, and find the true lengths of the cohort that is estimated."""
    rng = np.random.default_rng(seed)
    score, length = queue.draw(kind, n, rng)
    run = queue.serve(score, length, load, rng)
    tracker = QualityTracker()
    now = queue.feed(tracker, run)
    cohort = tracker.snapshot(now).cohort
    known = dict(zip(score, length, strict=True))
    return (
        tracker.snapshot(now).evaluate(),
        cohort,
        np.array([known[x] for x in cohort.score]),
        truth(score, length, FAR),
    )


@pytest.mark.parametrize("load", [1.1, 1.3, 1.6, 2.0])
def test_overload_served_by_score_is_undone(load: float) -> None:
    """In an overloaded queue served by score the estimate is within .02 of the whole cohort, on every seed."""
    errors, finished_errors = [], []
    for seed in range(4):
        estimate, cohort, length, _ = through_a_queue("gauss", load, seed)
        whole = truth(cohort.score, length, estimate.horizon_tokens)
        done = cohort.complete
        errors.append(estimate.tau.value - whole)
        finished_errors.append(truth(cohort.score[done], length[done], FAR) - whole)
        assert estimate.tau.low < estimate.tau.value < estimate.tau.high
        assert estimate.progress_seen
    assert np.max(np.abs(errors)) < 0.02
    assert abs(np.mean(errors)) < 0.01
    if load == 2.0:
        # What a tracker of finished requests alone would have said.
        assert np.mean(finished_errors) < -0.09


@pytest.mark.parametrize("kind", queue.KINDS)
def test_a_wrong_model_stays_near(kind: str) -> None:
    """Where dependence is not the model's own, load 1.3 costs less than .03 and less than finished-only mostly."""
    errors = []
    for seed in range(2):
        estimate, cohort, length, _ = through_a_queue(kind, 1.3, 50 + seed)
        errors.append(estimate.tau.value - truth(cohort.score, length, estimate.horizon_tokens))
    assert abs(np.mean(errors)) < 0.03


def test_everyone_capped_at_the_median_lowers_the_horizon() -> None:
    """With max_tokens at the median nothing is seen beyond: the horizon says so, and up to it tau is exact."""
    rng = np.random.default_rng(7)
    score, length = queue.draw("gauss", 2000, rng)
    cap = int(np.median(length))
    got = cohort_tau(Cohort(score, np.minimum(length, cap), length <= cap), FAR, 1.96, 50)
    assert got.horizon_tokens == cap
    assert got.decided_pair_share == 1.0
    assert got.tau.value == pytest.approx(truth(score, length, cap), abs=1e-12)
    assert abs(truth(score[length <= cap], length[length <= cap], cap) - got.tau.value) > 0.09


def test_half_capped_at_the_median_in_a_queue() -> None:
    """Pairs can be undecided though both have ended: a random half runs with max_tokens at the median."""
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(80 + seed)
        score, length = queue.draw("gauss", 3000, rng)
        cap = np.where(rng.random(3000) < 0.5, int(np.median(length)), 2**31 - 1)
        run = queue.serve(score, length, 0.8, rng)
        tracker = QualityTracker()
        now = queue.feed(tracker, run, cap=cap)
        known = dict(zip(score, length, strict=True))
        cohort, estimate = tracker.snapshot(now).cohort, tracker.snapshot(now).evaluate()
        whole = truth(cohort.score, np.array([known[x] for x in cohort.score]), estimate.horizon_tokens)
        assert estimate.decided_pair_share < 0.9
        errors.append(estimate.tau.value - whole)
    assert np.max(np.abs(errors)) < 0.02


def test_decided_cohorts_are_plain_tau_b() -> None:
    """With every length known nothing is modelled; ties in score and length count as in tau-b."""
    rng = np.random.default_rng(9)
    for _ in range(50):
        n = int(rng.integers(60, 200))
        score, length = rng.integers(0, 9, n) / 2, rng.integers(1, 30, n)
        got = cohort_tau(Cohort(score, length, np.ones(n, dtype=bool)), FAR, 1.96, 50)
        assert got.tau.value == pytest.approx(kendalltau(score, length).statistic, abs=1e-12)
        assert got.decided_pair_share == 1.0


def test_outliving_decides() -> None:
    """A running request longer than every finished one decides its pairs, and tau is exact."""
    rng = np.random.default_rng(10)
    score, length = queue.draw("gauss", 300, rng)
    complete = length < length.max()
    tokens = np.where(complete, length, np.sort(length)[-2] + 1)
    got = cohort_tau(Cohort(score, tokens, complete), FAR, 1.96, 50)
    assert got.decided_pair_share == 1.0
    assert got.tau.value == pytest.approx(truth(score, length, got.horizon_tokens), abs=1e-12)


def test_the_slow_way_agrees() -> None:
    """The grid's sums equal a sum over pairs of the same model's expectations."""
    rng = np.random.default_rng(11)
    score, length = queue.draw("gauss", 260, rng)
    score = np.round(score, 1)
    waiting = score > np.quantile(score, 0.8)
    cut = ~waiting & (rng.random(260) < 0.3)
    tokens = np.where(waiting, 0, np.where(cut, length // 2 + 1, length))
    known = ~waiting & ~cut
    cohort = impute.Restricted(score, np.minimum(tokens, 5000), known, 5000, known | (tokens > 0))
    exact = censored._exact_pairs(score, cohort.length, known)
    low = np.searchsorted(edges := censored._edges(cohort), cohort.length, "right")
    spans = (exact.score_less, exact.score_most)
    design = censored._design(latent.normal_scores(*spans), known | (tokens > 0))
    sample = latent.BinnedSample(design, low, np.where(known, low, len(edges)), len(edges) + 1)
    grid = impute.Grid.build(cohort, low, latent.fit(sample, censored.PRIOR), design, spans)
    agree, untied = grid.sums(spans, exact.agree, exact.length_untied)
    slow_agree, slow_untied = np.zeros(260), np.zeros(260)
    for i in range(260):
        for j in range(260):
            if i == j:
                continue
            if known[i] and known[j]:
                sign, same = np.sign(tokens[i] - tokens[j]), float(tokens[i] == tokens[j])
            elif known[j] and not known[i] and low[i] == low[j] and tokens[j] < tokens[i]:
                sign, same = 1.0, 0.0
            elif known[i] and not known[j] and low[i] == low[j] and tokens[i] < tokens[j]:
                sign, same = -1.0, 0.0
            else:
                below = np.cumsum(grid.share[j]) - grid.share[j]
                sign = grid.share[i] @ (below - (1 - below - grid.share[j]))
                same = (grid.share[i] * grid.share[j]) @ grid.tied
            slow_agree[i] += np.sign(score[i] - score[j]) * sign
            slow_untied[i] += 1 - same
    np.testing.assert_allclose(agree, slow_agree, atol=1e-8)
    np.testing.assert_allclose(untied, slow_untied, atol=1e-8)


def test_the_interval_covers_where_a_quarter_starves() -> None:
    """The interval knows what imputation costs: about 95 % where the top quarter by score was never served."""
    score, length = queue.draw("gauss", 40_000, np.random.default_rng(12))
    tau, held = truth(score, length, 1500), []
    for seed in range(250):
        score, length = queue.draw("gauss", 400, np.random.default_rng(1000 + seed))
        waiting = score > np.quantile(score, 0.75)
        got = cohort_tau(Cohort(score, np.where(waiting, 0, length), ~waiting), 1500, 1.959964, 50, doubt=0.0)
        held.append(got.tau.low <= tau <= got.tau.high)
    assert 0.91 <= np.mean(held) <= 0.985


def test_too_little_is_none() -> None:
    """Nothing started, nearly all waiting, empty or constant: None, never NaN, never an error."""
    zeros, no = np.zeros(400, dtype=np.int64), np.zeros(400, dtype=bool)
    score = np.random.default_rng(13).random(400)
    assert cohort_tau(Cohort(score, zeros, no), FAR, 1.96, 50).tau is None
    assert cohort_tau(Cohort(score[:0], zeros[:0], no[:0]), FAR, 1.96, 50).tau is None
    few = np.arange(400) < 55
    assert cohort_tau(Cohort(score, np.where(few, 9, 0), few), FAR, 1.96, 50).tau is None
    half = np.arange(400) < 200
    assert cohort_tau(Cohort(score, np.where(half, 9, 0), half), FAR, 1.96, 50).tau is None
    assert cohort_tau(Cohort(np.ones(400), np.arange(400), half), FAR, 1.96, 50).tau is None


def test_nothing_is_said_of_a_cohort_that_has_hardly_started() -> None:
    """With 60 of 400 requests started there is something to extrapolate from; with 59, all finished, there is not."""
    score, length = queue.draw("gauss", 400, np.random.default_rng(16))
    for few, said in ((59, False), (60, True)):
        started = np.arange(400) < few
        got = cohort_tau(Cohort(score, np.where(started, length, 0), started), FAR, 1.96, 50)
        assert (got.tau is not None) is said
        assert got.known == few


def test_hostile_cohorts_never_break_it() -> None:
    """Any mixture of bounds, ties, order and extremes gives a tau in [-1, 1] or None."""
    rng = np.random.default_rng(14)
    for _ in range(400):
        n = int(rng.integers(2, 300))
        score = rng.choice([rng.random(n), rng.integers(0, 3, n), np.sort(rng.random(n)) * 1e300])
        tokens = rng.choice([rng.integers(0, 4, n), rng.integers(0, 2**31, n), np.sort(rng.integers(0, 500, n))])
        complete = rng.random(n) < rng.choice([0.05, 0.5, 0.98])
        got = cohort_tau(Cohort(score.astype(float), tokens, complete), int(rng.choice([1, 50, FAR])), 1.96, 20)
        if got.tau is not None:
            assert -1 <= got.tau.low <= got.tau.value <= got.tau.high <= 1
        assert got.decided_pair_share is None or 0 <= got.decided_pair_share <= 1


def test_the_horizon_stays_where_nothing_is_cut() -> None:
    """Complete lengths leave the setting as it is; a heavy tail alone does not lower it."""
    length = np.array([1, 5, 100_000], dtype=np.int64)
    assert effective_horizon(length, np.ones(3, dtype=bool), FAR) == FAR
