"""What one tenant's reports may do to what is learned of all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rankd.adaptation.proof import Evidence, Proof
from rankd.adaptation.tenants import LATEST, LEAST_OTHERS, contradicting, weights

HONEST, OTHER, LIAR = 11, 12, 13


def added(
    proof: Proof,
    rng: np.random.Generator,
    parts: dict[int, tuple[int, float, float]],
    *,
    complete: float = 1.0,
) -> Proof:
    """Completions of sources, mixed: of each how many, and the correlation of base and learned with log length."""
    order = rng.permutation(np.repeat(list(parts), [number for number, _, _ in parts.values()]))
    for source in order.tolist():
        log = rng.standard_normal()
        scores = [rho * log + math.sqrt(1 - rho * rho) * rng.standard_normal() for rho in parts[source][1:]]
        tokens = int(math.exp(5 + log)) + 1
        known = bool(rng.random() < complete)
        proof.add(*scores, tokens if known else 1 + tokens // 2, known, source)
    return proof


def evidence(seed: int, parts: dict[int, tuple[int, float, float]], complete: float = 1.0) -> Evidence:
    return added(Proof(), np.random.default_rng(seed), parts, complete=complete).evidence()


def test_weights_are_bounded_by_what_the_others_weigh() -> None:
    source = np.repeat(np.array([0, HONEST, LIAR], np.uint64), [100, 200, 900])
    found = weights(source, share=0.5)
    assert found[source != LIAR].tolist() == [1.0] * 300
    assert found[source == LIAR].sum() == pytest.approx(300)
    found = weights(source, share=0.25)
    assert found[source == LIAR].sum() == pytest.approx(100)
    assert weights(source, share=1.0).tolist() == [1.0] * 1200


def test_weights_of_those_left_out_are_nothing_and_bound_nobody() -> None:
    source = np.repeat(np.array([0, HONEST, LIAR], np.uint64), [100, 200, 900])
    found = weights(source, {LIAR, 99}, 0.5)
    assert found[source == LIAR].tolist() == [0.0] * 900
    assert found[source == HONEST].sum() == pytest.approx(100)


def test_a_tenant_that_is_nearly_alone_is_not_bounded_nor_are_rows_of_nobody() -> None:
    alone = np.repeat(np.array([HONEST, OTHER], np.uint64), [900, LEAST_OTHERS - 1])
    assert weights(alone).tolist() == [1.0] * len(alone)
    nobody = np.repeat(np.array([0, OTHER], np.uint64), [900, 150])
    assert weights(nobody).tolist() == [1.0] * len(nobody)
    assert weights(np.zeros(0, np.uint64)).shape == (0,)


@pytest.mark.parametrize("complete", [1.0, 0.7])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_inverted_lengths_are_found(share: float, complete: float) -> None:
    mine = int(1000 * share)
    parts = {HONEST: ((1000 - mine) // 2, 0.5, 0.7), OTHER: ((1000 - mine) // 2, 0.6, 0.7), LIAR: (mine, -0.6, -0.5)}
    assert contradicting(evidence(1, parts, complete)) == {LIAR}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("base", "learned"),
    [(0.1, 0.1), (0.0, 0.0), (0.3, -0.3), (-0.5, 0.5)],
    ids=["hardly ordered", "not ordered", "ordered worse by what was learned", "ordered by what was learned alone"],
)
def test_a_tenant_that_merely_differs_is_learned_from(seed: int, base: float, learned: float) -> None:
    parts = {HONEST: (350, 0.5, 0.7), 0: (350, 0.6, 0.7), OTHER: (300, base, learned)}
    assert contradicting(evidence(seed, parts)) == frozenset()


def test_constant_lengths_and_few_rows_are_no_contradiction() -> None:
    proof = added(Proof(), np.random.default_rng(2), {HONEST: (700, 0.5, 0.7), LIAR: (30, -0.9, -0.9)})
    for at in range(200):
        proof.add(at / 7 % 1, at / 3 % 1, 5, True, OTHER)
    assert contradicting(proof.evidence()) == frozenset()


def test_where_the_ranker_orders_nobody_s_requests_nobody_contradicts() -> None:
    parts = {HONEST: (500, -0.5, 0.1), OTHER: (500, -0.5, 0.1)}
    assert contradicting(evidence(3, parts)) == frozenset()
    assert contradicting(evidence(3, {HONEST: (1000, -0.5, -0.1)})) == frozenset()


def test_those_without_a_tenant_are_never_left_out() -> None:
    assert contradicting(evidence(4, {0: (400, -0.6, -0.6), HONEST: (600, 0.5, 0.6)})) == frozenset()


def test_two_that_lie_alike_are_found() -> None:
    parts = {HONEST: (300, 0.5, 0.7), OTHER: (300, 0.5, 0.7), LIAR: (200, -0.6, -0.5), 14: (200, -0.6, -0.5)}
    assert contradicting(evidence(5, parts)) == {LIAR, 14}


def test_one_that_begins_honestly_is_found_and_returns_when_it_is_honest_again() -> None:
    rng, proof = np.random.default_rng(6), Proof()
    honest = {HONEST: (700, 0.5, 0.7), LIAR: (300, 0.6, 0.7)}
    added(proof, rng, honest)
    assert contradicting(proof.evidence()) == frozenset()
    added(proof, rng, {HONEST: (700, 0.5, 0.7), LIAR: (LATEST, -0.6, -0.5)})
    assert contradicting(proof.evidence()) == {LIAR}
    # What it says is looked at further, and one that says little more stays where it is.
    added(proof, rng, {HONEST: (1020, 0.5, 0.7), LIAR: (4, -0.6, -0.5)})
    assert contradicting(proof.evidence(), {LIAR}) == {LIAR}
    added(proof, rng, honest)
    assert contradicting(proof.evidence(), {LIAR}) == frozenset()
