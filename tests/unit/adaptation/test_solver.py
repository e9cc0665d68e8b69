"""The search against the closed solution of ridge regression, and what bounds a report's leverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from support.learned_traffic import LearnedTraffic

from rankd.adaptation.completion import LearnedCompletion
from rankd.adaptation.design import SMALL, Penalty, RidgeDesign
from rankd.adaptation.features import BUCKETS, unpack
from rankd.adaptation.head import Head
from rankd.adaptation.rows import Columns, CompletionRing
from rankd.adaptation.solver import _mean_above, affine, log_length, ridge, targets


def columns(completions: list[LearnedCompletion], most: int = 4096) -> Columns:
    """Completions in a ring, and out of it."""
    ring = CompletionRing(most)
    for one in completions:
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, one.source, one.at)
    return ring.latest(most)


def matrix(rows: Columns, design: RidgeDesign) -> np.ndarray:
    """The design written out, uncentred, by definition."""
    dense = rows.dense * rows.scale[:, None]
    buckets = np.zeros((len(rows), 2 * BUCKETS))
    row = np.repeat(np.arange(len(rows)), rows.bags.count)
    np.add.at(buckets, (row, rows.bags.index), rows.bags.value)
    raw = np.column_stack([rows.score, rows.numbers])
    usual = 1.4826 * np.median(np.abs(raw - np.median(raw, axis=0)), axis=0)
    far = 4 * np.maximum(usual, design.spread)
    small = np.clip(raw - design.middle, -far, far) / design.spread
    length = np.linalg.norm(dense, axis=1)
    dense = dense * np.minimum(1.0, 2.0 * np.median(length) / length)[:, None]
    length = np.linalg.norm(dense - np.average(dense, axis=0, weights=design.weight), axis=1)
    unit = np.sqrt(np.square(length).mean())
    dense = dense * np.minimum(1.0, 4.0 * unit / length)[:, None] / unit
    return np.column_stack([small, dense, buckets])


@pytest.mark.parametrize("prior", [False, True])
def test_it_is_the_closed_solution(prior: bool) -> None:
    rows = columns(LearnedTraffic(1).completions(300))
    weight = np.random.default_rng(0).uniform(0.2, 1.0, 300)
    start = affine(rows, weight, None)
    penalty = Penalty()
    design = RidgeDesign(rows, weight, text=True, penalty=penalty)
    full = matrix(rows, design)
    used = np.concatenate(
        [np.arange(SMALL + 16), SMALL + 16 + np.flatnonzero((full[:, SMALL + 16 :] != 0).any(axis=0))]
    )
    x = full[:, used] - np.average(full[:, used], axis=0, weights=weight)
    y = targets(start.over(rows), log_length(rows.tokens), rows.complete)
    y = y - np.average(y, weights=weight)
    precision = np.repeat(
        [penalty.score, penalty.number, penalty.dense, penalty.word, penalty.shape], [1, 4, 16, BUCKETS, BUCKETS]
    )[used]
    before = Head(1.0, 0.3, np.zeros(4, np.float32), np.ones(16, np.float32), np.ones(2 * BUCKETS, np.float32))
    pull = precision * design.parameters(before)[used] if prior else 0.0
    weights = np.linalg.solve(x.T @ (weight[:, None] * x) + np.diag(precision), x.T @ (weight * y) + pull)
    found = ridge(rows, weight, start, penalty=penalty, prior=before if prior else None, iterations=500, tolerance=1e-7)
    np.testing.assert_allclose(design.parameters(found)[used], weights, atol=0.02)
    expected = x @ weights
    predicted = found.over(rows)
    assert np.corrcoef(predicted, expected)[0, 1] > 0.9999


def test_few_steps_from_the_last_solution_are_enough() -> None:
    completions = LearnedTraffic(2).completions(1000)
    rows = columns(completions)
    before = columns(completions[:900])
    start = ridge(before, np.ones(900), affine(before, np.ones(900), None), iterations=100)
    few, many = (ridge(rows, np.ones(1000), start, iterations=n).over(rows) for n in (8, 200))
    assert float(np.abs(few - many).max()) < 0.1 * float(many.std())


def test_the_expectation_above_a_bound() -> None:
    bounds = np.array([-8.0, -1.0, 0.0, 2.0, 4.9, 5.1, 30.0])
    expected = norm.pdf(bounds) / norm.sf(bounds)
    np.testing.assert_allclose(_mean_above(bounds), expected, atol=2e-2)


def test_lengths_that_are_cut_short_do_not_teach_that_answers_are_short() -> None:
    traffic = LearnedTraffic(3, noise=0.3)
    completions = traffic.completions(1500)
    limit = 150
    cut = [
        LearnedCompletion(c.score, c.features, min(c.tokens, limit), c.tokens <= limit, 0, c.at) for c in completions
    ]
    shares = [c.tokens > limit for c in completions]
    assert 0.3 < np.mean(shares) < 0.7
    rows, whole = columns(cut), columns(completions)
    weight = np.ones(1500)

    def learned(rows: Columns, *, believed: bool) -> Head:
        if believed:
            rows = Columns(*(getattr(rows, n) for n in rows.__slots__[:6]), np.ones(1500, bool), rows.source, rows.at)
        head = affine(rows, weight, None)
        for _ in range(6):
            head = ridge(rows, weight, head)
        return head

    truth = learned(whole, believed=False).over(whole)
    bounded, naive = learned(rows, believed=False).over(whole), learned(rows, believed=True).over(whole)
    assert np.square(bounded - truth).mean() < 0.5 * np.square(naive - truth).mean()


@pytest.mark.parametrize("tokens", [0, 2**31 - 1])
def test_one_report_moves_little_whatever_it_says(tokens: int) -> None:
    completions = LearnedTraffic(4).completions(400)
    one = completions[7]
    hostile = LearnedCompletion(1e6, one.features, tokens, True, 0, 0.0)
    others = columns(completions)
    heads = []
    for rows in (columns([*completions[:7], *completions[8:]]), columns([*completions[:7], hostile, *completions[8:]])):
        weight = np.ones(len(rows))
        heads.append(ridge(rows, weight, affine(rows, weight, None), iterations=100))
    without, with_it = (head.over(others) for head in heads)
    assert float(np.abs(without - with_it).mean()) < 0.1 * float(without.std())


def test_rows_that_are_not_trusted_count_nothing() -> None:
    honest, liar = LearnedTraffic(5).completions(300), LearnedTraffic(6).completions(100)
    both, alone = columns([*honest, *liar]), columns(honest)
    weight = np.concatenate([np.ones(300), np.full(100, 1e-6)])
    found = ridge(both, weight, affine(both, weight, None), iterations=100).over(alone)
    expected = ridge(alone, np.ones(300), affine(alone, np.ones(300), None), iterations=100).over(alone)
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    assert math.isfinite(float(found.sum()))
