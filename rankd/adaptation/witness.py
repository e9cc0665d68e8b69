"""What the others teach, as a witness of what one tenant reports: for where the ranker's score says too little.

A head is learned from the rows of all others, without any of that tenant's. Lengths that surely run against what it
says, while the ranker's score does not order them either, contradict the others: they are inverted. A tenant that
merely differs is one that the others' head hardly orders, or that the ranker orders all the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.rows import Columns, CompletionRing
from rankd.adaptation.solver import affine, log_length, ridge
from rankd.quality.statistics.cohort import NOTABLE

Floats = NDArray[np.float64]

LATEST = 1024
"""Rows that are looked at."""
LEAST = 48
"""Rows of known length of a tenant below which it is not judged."""
LEAST_OTHERS = 96
"""Rows of all others that it takes."""
AGAINST = 4.0
"""Standard deviations that the correlation must lie below zero."""
LEAST_AGAINST = 0.2
"""By how much it must lie below zero."""
_MOST = 256
_PASSES = 6
_MOST_TENANTS = 5
_CLEARED = 16
"""Looks after which one that the others' head orders is looked at again."""


class Witness:
    """Looks at one tenant after the other, one each time: it takes some 10 ms. One thread at a time."""

    def __init__(self) -> None:
        """Start without anybody examined."""
        self._looks = 0
        self._due: dict[int, int] = {}
        self.borne_out: frozenset[int] = frozenset()
        """Sources that the others' head surely ordered at the last look: they do not contradict anybody."""

    def against(self, ring: CompletionRing, before: frozenset[int], suspected: Collection[int]) -> frozenset[int]:
        """Sources that contradict what the others teach.

        Args:
            ring: rows that are learned from.
            before: what this said the last time.
            suspected: sources that are no witnesses, and are looked at first.
        """
        self._looks += 1
        rows = ring.latest(LATEST)
        found, counts = np.unique(rows.source[rows.source != 0], return_counts=True)
        notable = counts >= max(LEAST, NOTABLE * len(rows))
        largest = found[notable][np.argsort(-counts[notable], kind="stable")][:_MOST_TENANTS].tolist()
        self._due = {source: at for source, at in self._due.items() if source in largest}
        self.borne_out &= frozenset(largest)
        self._due |= {source: 0 for source in suspected if source in self.borne_out}
        due = [source for source in largest if self._due.get(source, 0) <= self._looks]
        if not due or len(rows) < LEAST + LEAST_OTHERS:
            return before
        source = min(due, key=lambda one: self._due.get(one, 0))
        correlations = _correlations(rows, source, (set(suspected) | before) - {source})
        if correlations is None:
            self._due[source] = self._looks + 1
            return before
        learned, own, others, size = correlations
        deviations = _deviations(learned, size)
        self._due[source] = self._looks + (3 if -1.0 < deviations < 2.0 else 1 if deviations < 2.0 else _CLEARED)
        self.borne_out = self.borne_out | {source} if deviations > 2.0 else self.borne_out - {source}
        if source in before:
            return before if deviations < -1.0 else before - {source}
        surely = deviations < -AGAINST and learned < -LEAST_AGAINST
        # Of two that contradict each other the ranker's score says which.
        return before | {source} if surely and own < others and _deviations(own, size) < 1.0 else before


def _correlations(rows: Columns, source: int, left_out: set[int]) -> tuple[float, float, float, int] | None:
    """Of a tenant's lengths with the others' head and the score, what the latter must be below, and of how many."""
    mine = rows.source == np.uint64(source)
    others = ~mine & ~np.isin(rows.source, np.array(sorted(left_out), np.uint64))
    judged = np.flatnonzero(mine & rows.complete)[-_MOST:]
    if len(judged) < LEAST or np.count_nonzero(others) < LEAST_OTHERS:
        return None
    weight = others.astype(np.float64)
    predicted = ridge(rows, weight, affine(rows, weight, None), iterations=_PASSES).over(rows)
    logs, known = log_length(rows.tokens), np.flatnonzero(others & rows.complete)
    # Where the score says nothing of either, the larger part is believed.
    margin = 2.0 / math.sqrt(len(judged)) if np.count_nonzero(mine) < np.count_nonzero(others) else 0.0
    return (
        rank_correlation(predicted[judged], logs[judged]),
        rank_correlation(rows.score[judged], logs[judged]),
        rank_correlation(rows.score[known], logs[known]) + margin,
        len(judged),
    )


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's; 0 where it is not defined."""
    a, b = (_ranks(values) - (len(values) + 1) / 2 for values in (one, other))
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def _ranks(values: Floats) -> Floats:
    """From 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Floats = np.cumsum(counts) - (counts - 1) / 2
    return last[place]


def _deviations(correlation: float, size: int) -> float:
    """Standard deviations above zero, by Fisher's transform."""
    return math.atanh(min(max(correlation, -0.999), 0.999)) * math.sqrt(max(size - 3, 1))
