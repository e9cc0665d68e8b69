"""What the reports of one tenant may do to what is learned of all.

Lengths can be invented, signed predictions or not. Two things bound what that does. The rows of one tenant weigh at
most what those of all others do. And a tenant whose reports contradict what the others teach is left out:

- whose lengths run against the ranker's score, which no report can move, while those of the others run with it, and
  which what was learned does not order either, although it was learned from that tenant too;
- or which is surely ordered worse with what was learned than without, although it was learned from that tenant too,
  while the others are surely ordered better: lengths inverted around what the score says.

A tenant that merely differs is one that the ranker orders less well, or only what was learned does: it is learned from
like any other.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.evidence import Evidence
from rankd.adaptation.proof import deviations
from rankd.quality.statistics.cohort import NOTABLE
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import compare

Floats = NDArray[np.float64]

LATEST = 256
"""A tenant's latest completions that it is judged by: one that begins to lie is found within some hundred."""
LEAST = 48
"""Completions of a tenant below which it is not judged."""
LEAST_OTHERS = 100
"""Rows of others that it takes to bound a tenant's weight: with fewer, that tenant is all that there is to learn."""
BACKWARDS = 2.6
"""Standard deviations that a tenant's tau must lie below zero to be left out."""
LEAST_BACKWARDS = 0.1
"""By how much it must lie below zero: a ranker that says nothing of a tenant's answers is no proof that it lies."""
WORSE = 0.03
"""By how much a tenant's tau must be lower with what was learned than without."""
SURELY = 3.3
"""Standard deviations of that. Honest tenants that differ were up to .19 worse for a while, by 2.8 deviations at most
(docs/science/adaptation_proof.md)."""
BETTER = 2.5
"""Standard deviations of the others' gain."""
_MOST_EXAMINED = 12


def contradicting(evidence: Evidence, before: Collection[int] = ()) -> frozenset[int]:
    """Sources whose reports contradict what the others teach: some milliseconds, in any thread.

    Args:
        evidence: what was predicted, and what came.
        before: those that were left out until now; they are until they contradict no more.
    """
    rows = evidence.settled(all_that_is_known=True)
    source = evidence.source[rows]
    found, counts = np.unique(source[source != 0], return_counts=True)
    notable = counts >= max(LEAST, NOTABLE * len(rows))
    largest = found[notable][np.argsort(-counts[notable], kind="stable")][:_MOST_EXAMINED].tolist()
    figures = {one: _figures(evidence, rows[source == np.uint64(one)]) for one in largest}
    backwards = {one for one, (base, learned, _) in figures.items() if _backwards(base, learned, one in before)}
    worse = {one for one, (_, _, difference) in figures.items() if _worse(difference, one in before)}
    if not backwards | worse:
        # Of those that brought too little to be judged nothing new is known.
        return frozenset(before) - frozenset(largest)
    unknown = frozenset(before) & frozenset(found[~notable].tolist())
    suspected = np.array(sorted(backwards | worse | unknown), np.uint64)
    others = rows[~np.isin(source, suspected)]
    taught = compare(evidence.sample(others)) if len(others) >= LEAST else None
    if taught is None or taught.incumbent.tau is None or taught.incumbent.tau.low <= 0:
        backwards = set()
    if taught is None or taught.tau_difference is None or deviations(taught.tau_difference) < BETTER:
        worse &= set(before)
    return frozenset(backwards | worse) | (frozenset(before) - frozenset(largest))


def weights(source: NDArray[np.uint64], left_out: Collection[int] = (), share: float = 0.5) -> Floats:
    """What each row counts for, [n], between 0 and 1.

    Args:
        source: whose row it is, [n]; 0 for nobody's in particular.
        left_out: sources that count for nothing.
        share: most of all weight that one source may have; 1 is no bound.
    """
    sources, place, counts = np.unique(source, return_inverse=True, return_counts=True)
    total = np.where(np.isin(sources, np.array(sorted(left_out), np.uint64)), 0.0, counts.astype(np.float64))
    of_all = float(total.sum())
    largest = int(np.argmax(np.where(sources != 0, total, -1.0))) if len(sources) else 0
    others = of_all - total[largest] if len(sources) else 0.0
    if len(sources) and sources[largest] and share < 1.0 and others >= LEAST_OTHERS:
        # At most one can have more than half; below half several could, and one bound after the other is enough.
        total[largest] = min(total[largest], others * share / (1.0 - share))
    return np.asarray((total / counts)[place])


def _figures(evidence: Evidence, rows: NDArray[np.int64]) -> tuple[Interval | None, Interval | None, Interval | None]:
    """Tau of the ranker's score and of the learned one over a tenant's latest completions, and their difference."""
    found = compare(evidence.sample(rows[-LATEST:]))
    return found.incumbent.tau, found.candidate.tau, found.tau_difference


def _backwards(base: Interval | None, learned: Interval | None, before: bool) -> bool:
    """Whether lengths run against the ranker's score, and what was learned does not order them either."""
    if base is None:
        return before
    if before:
        return base.value < 0
    surely = base.value < -LEAST_BACKWARDS and _from_zero(base) < -BACKWARDS
    return surely and (learned is None or _from_zero(learned) < 1.0)


def _worse(difference: Interval | None, before: bool) -> bool:
    """Whether what was learned surely orders worse than the ranker's score alone."""
    if difference is None:
        return False
    if before:
        return difference.value < -WORSE
    return difference.value < -WORSE and deviations(difference) < -SURELY


def _from_zero(tau: Interval) -> float:
    """How many of its standard deviations a tau lies above zero."""
    return deviations(Interval(2.0 * tau.value, 2.0 * tau.low, 2.0 * tau.high))
