"""What the reports of one tenant may do to what is learned of all.

Lengths can be invented, signed predictions or not. Two things bound what that does. The rows of one tenant weigh at
most what those of all others do. And a tenant whose reports contradict what the others teach is left out: one whose
lengths run against the ranker's score, which no report can move, while those of the others run with it, and which what
was learned does not order either, although it was learned from that tenant too. A tenant that merely differs is one
that the ranker orders less well, or only what was learned does: it is learned from like any other.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.proof import Evidence
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
_MOST_EXAMINED = 12
_Z = 1.959964


def contradicting(evidence: Evidence, before: Collection[int] = ()) -> frozenset[int]:
    """Sources whose reports contradict what the others teach: some milliseconds, in any thread.

    Args:
        evidence: what was predicted, and what came.
        before: those that were left out until now; they are until their lengths run with the ranker's score again.
    """
    found, counts = np.unique(evidence.source[evidence.source != 0], return_counts=True)
    notable = counts >= max(LEAST, NOTABLE * len(evidence.base))
    largest = found[notable][np.argsort(-counts[notable], kind="stable")][:_MOST_EXAMINED]
    suspected = [source for source in largest.tolist() if _backwards(evidence, source, source in before)]
    # Of those that cannot be judged any more nothing new is known.
    left_out = frozenset(suspected) | (frozenset(before) & frozenset(found[~notable].tolist()))
    others = np.flatnonzero(~np.isin(evidence.source, np.array(sorted(left_out), np.uint64)))
    if not suspected or len(others) < LEAST:
        return left_out - frozenset(suspected)
    taught = compare(evidence.sample(others)).incumbent.tau
    return left_out if taught is not None and taught.low > 0 else left_out - frozenset(suspected)


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


def _backwards(evidence: Evidence, source: int, before: bool) -> bool:
    """Whether a tenant's lengths run against the ranker's score, and what was learned does not order them either."""
    rows = np.flatnonzero(evidence.source == np.uint64(source))[-LATEST:]
    found = compare(evidence.sample(rows))
    base, learned = found.incumbent.tau, found.candidate.tau
    if base is None:
        return before
    if before:
        return base.value < 0
    surely = base.value < -LEAST_BACKWARDS and _deviations(base) < -BACKWARDS
    return surely and (learned is None or _deviations(learned) < 1.0)


def _deviations(tau: Interval) -> float:
    """How many of its standard deviations a tau lies above zero."""
    centre, low = (math.atanh(min(max(end, -1.0 + 1e-12), 1.0 - 1e-12)) for end in (tau.value, tau.low))
    if tau.value == 0.0:
        return 0.0
    return math.copysign(math.inf, centre) if centre <= low else _Z * centre / (centre - low)
