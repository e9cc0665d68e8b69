"""One tenant's lengths against what the others teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from support.learned_traffic import LearnedTraffic, serve

from rankd.adaptation import Adaptation, LearnedCompletion
from rankd.adaptation.features import unpack
from rankd.adaptation.rows import CompletionRing
from rankd.adaptation.witness import Witness, rank_correlation

HONEST, OTHER, LIAR = 11, 12, 13


def inverted(rows: list[LearnedCompletion]) -> list[LearnedCompletion]:
    """The longest is said to be the shortest."""
    tokens = np.array([one.tokens for one in rows])
    lies = np.sort(tokens)[::-1][np.argsort(np.argsort(tokens))].tolist()
    return [replace(one, tokens=lie, source=LIAR) for one, lie in zip(rows, lies, strict=True)]


def mixed(seed: int, *parts: list[LearnedCompletion]) -> list[LearnedCompletion]:
    """All of them in random order."""
    rows = [one for part in parts for one in part]
    return [rows[at] for at in np.random.default_rng(seed).permutation(len(rows)).tolist()]


def of(source: int, rows: list[LearnedCompletion]) -> list[LearnedCompletion]:
    return [replace(one, source=source) for one in rows]


def examined(rows: list[LearnedCompletion], before: frozenset[int] = frozenset()) -> frozenset[int]:
    """What a witness says after some looks."""
    ring, witness = CompletionRing(1024), Witness()
    for one in rows:
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, one.source, one.at)
    for _ in range(5):
        before = witness.against(ring, before, ())
    return before


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_inverted_lengths_are_found_where_the_ranker_orders_nothing(share: float) -> None:
    traffic = LearnedTraffic(21, score=0.0)
    rows = traffic.completions(900)
    bad = int(900 * share)
    parts = of(HONEST, rows[: (900 - bad) // 2]), of(OTHER, rows[(900 - bad) // 2 : 900 - bad])
    lies = inverted(rows[900 - bad :])
    assert examined(mixed(0, *parts, lies)) == {LIAR}
    assert examined(mixed(0, *parts, lies), frozenset({LIAR})) == {LIAR}
    assert examined(mixed(0, *parts, of(LIAR, rows[900 - bad :])), frozenset({LIAR})) == frozenset()


@pytest.mark.parametrize("seed", range(3))
def test_honest_tenants_of_traffic_of_their_own_are_learned_from(seed: int) -> None:
    one, other = LearnedTraffic(2 * seed + 30), LearnedTraffic(2 * seed + 31)
    assert examined(mixed(seed, of(HONEST, one.completions(500)), of(OTHER, other.completions(250)))) == frozenset()


def test_one_that_the_ranker_orders_is_learned_from_whatever_the_others_teach() -> None:
    one, other = LearnedTraffic(41, score=0.6), LearnedTraffic(41, score=0.6)
    different = [
        replace(row, source=OTHER, tokens=max(1, round(np.exp(5.0 + row.score)))) for row in other.completions(250)
    ]
    assert examined(mixed(0, of(HONEST, one.completions(500)), different)) == frozenset()


def test_a_liar_costs_the_others_little_where_the_ranker_orders_nothing() -> None:
    rows = LearnedTraffic(51, score=0.0).completions(900)
    lies = inverted(rows[600:])
    adaptation = Adaptation()
    serve(adaptation, mixed(1, of(HONEST, rows[:300]), of(OTHER, rows[300:600]), lies))
    assert adaptation.status.left_out > 110
    later = LearnedTraffic(51, score=0.0).completions(1200)[900:]
    learned = adaptation.scores(np.array([one.score for one in later]), [one.features for one in later])
    assert np.corrcoef(learned, np.log([one.tokens + 4 for one in later]))[0, 1] > 0.5


def test_correlation_of_ranks_is_spearman_s():
    """Ties, and columns without any order, included."""
    draw = np.random.default_rng(3)
    for size, values in ((5, 2), (200, 7), (1000, 10**6)):
        one, other = draw.integers(0, values, (2, size)).astype(np.float64)
        other += 0.3 * one
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation(np.ones(9), np.arange(9.0)) == 0.0
