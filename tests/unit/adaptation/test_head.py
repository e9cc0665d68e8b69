"""One prediction, many, and rows: the same number; and the head as bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.learned_traffic import LearnedTraffic

from rankd.adaptation.features import BUCKETS, NUMBERS, unpack
from rankd.adaptation.head import Head, TextHead, combined
from rankd.adaptation.rows import COLUMNS, CompletionRing


def drawn(seed: int, dimensions: int = 16) -> Head:
    """Any weights."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(n).astype(np.float32) for n in (NUMBERS, dimensions, COLUMNS)]
    return Head(0.5, 1.5, *parts)


def test_all_ways_to_predict_agree() -> None:
    head, completions, ring = drawn(1), LearnedTraffic(1).completions(40), CompletionRing(40)
    completions = [replace(c, features=c.features) for c in completions]
    for one in completions:
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, one.source, one.at)
    scores = head.scores(np.array([c.score for c in completions]), [c.features for c in completions])
    np.testing.assert_allclose(scores, head.over(ring.latest(40)), atol=1e-4)


def test_the_combination_predicts_the_weighted_mean() -> None:
    one = LearnedTraffic(2).completion()
    heads = [Head.affine(1.0, 2.0), drawn(3), drawn(4)]
    shares = [0.2, 0.5, 0.3]
    base, features = np.array([one.score]), [one.features]
    expected = sum(s * h.scores(base, features)[0] for h, s in zip(heads, shares, strict=True))
    assert combined(heads, shares).scores(base, features)[0] == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_read_has_no_learned_score() -> None:
    one = LearnedTraffic(2).completion()
    found = drawn(5).scores(np.array([one.score, 0.0, np.inf]), [one.features, b"", one.features])
    assert np.isnan(found).tolist() == [False, True, True]


def test_a_head_of_the_text_comes_back_from_bytes() -> None:
    head = TextHead.of(drawn(6), 0.25)
    again = TextHead.unpack(head.pack())
    assert again.intercept == 0.75
    assert again.slope == 1.5
    np.testing.assert_array_equal(again.dense, head.dense)
    np.testing.assert_array_equal(again.words, head.words)
    assert len(again.words) == BUCKETS


@settings(max_examples=examples(200))
@given(st.binary(max_size=200), st.integers(0, 66000), st.integers(0, 255))
def test_hostile_bytes_are_no_head(data: bytes, place: int, value: int) -> None:
    packed = bytearray(TextHead.of(drawn(6), 0.25).pack())
    packed[place % len(packed)] = value
    for hostile in (data, bytes(packed), bytes(packed[:-1])):
        try:
            head = TextHead.unpack(hostile)
        except ValueError:
            continue
        assert np.isfinite(head.words).all()
