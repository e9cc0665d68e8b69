"""Rows that leave a regression little or nothing to go by: what is learned stays a number, and a possible length."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.learned_traffic import LearnedTraffic, serve

from rankd.adaptation import Adaptation, AdaptationState, FeatureHasher, LearnedCompletion, pack
from rankd.adaptation.learner import HeadLearner
from rankd.adaptation.solver import SOFTENING

_HASHER = FeatureHasher(b"", "r@1")
_BESIDE = 1.5
"""Bounds lie .5 beside lengths that were seen, and predictions at most 1 beside these."""

scales = st.sampled_from([0.0, 1e-6, 1e-3, 1.0, 50.0, 1e5])
scores = st.one_of(st.just(0.5), st.floats(-3, 3), st.sampled_from([-1e6, 1e6, 1e-9]))
lengths = st.one_of(st.just(50), st.integers(1, 900), st.sampled_from([0, 2**31 - 1]))


@st.composite
def kinds(draw: st.DrawFn) -> tuple[float, bytes, int, bool, int]:
    """One kind of completion: score, features, length, whether it is known, and whose."""
    rng = np.random.default_rng(draw(st.integers(0, 3)))
    ids = rng.integers(1000, 1120, draw(st.sampled_from([0, 1, 12])))
    dimensions = draw(st.sampled_from([0, 8, 8, 8, 16]))
    dense = (np.ones((1, dimensions)) if draw(st.booleans()) else rng.normal(size=(1, dimensions))) * draw(scales)
    text = _HASHER.text([ids], dense.astype(np.float32))[0]
    number = draw(st.sampled_from([0.0, 1.0, 6e4]))
    features = pack(text, (number, 0.0, 0.0, 0.0))
    return draw(scores), features, draw(lengths), draw(st.integers(0, 3)) > 0, draw(st.integers(0, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(kinds(), min_size=1, max_size=6), st.lists(st.integers(0, 5), max_size=200), st.integers(0, 2**16))
def test_learned_scores_are_numbers_near_lengths_that_were_seen(
    parts: list[tuple[float, bytes, int, bool, int]], order: list[int], seed: int
) -> None:
    rng, adaptation = np.random.default_rng(seed), Adaptation()
    # Most are of the first kind, as the prompts of a health check are.
    places = np.concatenate([order, np.where(rng.random(160) < 0.9, 0, rng.integers(0, len(parts), 160))]).astype(int)
    rows = [LearnedCompletion(*parts[place % len(parts)], 0.0) for place in places.tolist()]
    found = serve(adaptation, rows)
    logs = np.log(np.clip([row.tokens for row in rows], 0, 2**20) + SOFTENING)
    some = found[64:]
    assert np.isfinite(some).all()
    assert some.min() > logs.min() - _BESIDE
    assert some.max() < logs.max() + _BESIDE


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_where_most_prompts_are_the_same_the_others_are_learned_all_the_same(share: float) -> None:
    traffic, rng = LearnedTraffic(11), np.random.default_rng(1)
    check = replace(traffic.completion(), score=0.5, tokens=50)
    size = 320 if share > 0.1 else 1600
    rows = [traffic.completion() if own else check for own in (rng.random(size) < share).tolist()]
    adaptation = Adaptation()
    found = serve(adaptation, rows)
    assert np.isfinite(found[64:]).all()
    assert abs(float(np.median(found[-100:])) - math.log(50 + SOFTENING)) < (0.2 if share < 0.5 else 2.0)
    if share > 0.02:
        later = traffic.completions(200)
        learned = adaptation.scores(np.array([one.score for one in later]), [one.features for one in later])
        logs = [math.log(one.tokens) for one in later]
        assert np.corrcoef(learned, logs)[0, 1] > np.corrcoef([one.score for one in later], logs)[0, 1] + 0.05


def test_another_number_of_dense_features_is_taken_up_where_most_have_it() -> None:
    rng, learner = np.random.default_rng(0), HeadLearner(512, 1e9)

    def rows(dimensions: int, size: int) -> list[LearnedCompletion]:
        pooled = rng.standard_normal((size, dimensions)).astype(np.float32)
        texts = _HASHER.text([np.array([0, 5, 0])] * size, pooled)
        logs = 5.0 + pooled[:, 0]
        return [
            LearnedCompletion(0.0, pack(text), round(math.exp(log)), True, learned=0.0)
            for text, log in zip(texts, logs.tolist(), strict=True)
        ]

    for dimensions, own in ((3, 3), (8, 8), (16, 16)):
        for _ in range(10):
            learned = learner.learn([*rows(dimensions, 31), *rows(5, 1)], 0.0)
        assert learned.head is not None
        assert len(learned.head.dense) == own
        later = rows(dimensions, 200)
        found = learned.head.scores(np.zeros(200), [one.features for one in later])
        assert np.corrcoef(found, [math.log(one.tokens) for one in later])[0, 1] > 0.9


def test_what_was_not_predicted_although_something_was_known_judges_no_expert() -> None:
    known = HeadLearner(512, 1e9)
    for _ in range(10):
        known.learn(LearnedTraffic(3).completions(32), 0.0)
    learner = HeadLearner(512, 1e9, known.learned)
    again = LearnedTraffic(3).completions(32)
    assert learner.learn(again, 0.0).shares is known.learned.shares
    fresh = [replace(one, learned=5.0) for one in again]
    assert learner.learn([*again[:16], *fresh[16:]], 0.0).shares.weight != known.learned.shares.weight


def test_one_that_follows_says_that_it_is_not_better() -> None:
    adaptation = Adaptation()
    adaptation.follow(False, 0.0)
    serve(adaptation, LearnedTraffic(7).completions(96))
    assert adaptation.state is AdaptationState.LEARNING
    serve(adaptation, LearnedTraffic(7).completions(160))
    assert adaptation.state is AdaptationState.NOT_BETTER
    adaptation.follow(True, 0.0)
    serve(adaptation, LearnedTraffic(7).completions(64))
    assert adaptation.state is AdaptationState.IN_USE
    adaptation.follow(False, 0.0)
    assert adaptation.state is AdaptationState.STEPPED_BACK
