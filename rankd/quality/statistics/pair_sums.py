"""Sums over the pairs of a sample, kept per row: what tau-b, realised gain and their intervals are made of.

Pairs count within a stratum only (a served model, a source), as lengths of two models do not compare. A length may be
a lower bound: a pair counts where its order is known all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics import interval, kendall

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROWS = 256
"""Rows of the pair matrix in memory at once: 256 x 4,096 pairs take some 10 MB."""
_SHARED = 3
"""Columns that do not depend on a score; each score adds as many of its own."""

Statistic = tuple[float, Floats] | None
"""A value and each row's influence on it; None where it is undefined."""


@dataclass(frozen=True, slots=True)
class RowPairSums:
    """Per row, sums over its pairs: all float64[n]; tuples hold one array per score."""

    length_untied: Floats
    """Pairs whose lengths are known to differ."""
    spread: Floats
    """Sum of |length difference|, over pairs of two known lengths."""
    decided: Floats
    """Pairs whose order, or tie, is known."""
    agree: tuple[Floats, ...]
    """Sum of sgn(score difference) * sgn(length difference)."""
    score_untied: tuple[Floats, ...]
    """Decided pairs that differ in score."""
    gain: tuple[Floats, ...]
    """Sum of sgn(score difference) * length difference, over pairs of two known lengths."""

    def at(self, rows: Ints) -> RowPairSums:
        """Those of some rows; whole strata, or the sums count pairs with rows that are not there."""
        return RowPairSums(
            self.length_untied[rows],
            self.spread[rows],
            self.decided[rows],
            *(tuple(c[rows] for c in columns) for columns in (self.agree, self.score_untied, self.gain)),
        )

    def tau_b(self, score: int = 0) -> Statistic:
        """Kendall's tau-b of one of the scores."""
        agree, untied, length = self.agree[score], self.score_untied[score], self.length_untied
        if length.sum() <= 0:
            return None
        if untied.sum() <= 0:
            return 0.0, np.zeros(len(agree))  # scores all alike order nothing
        value = float(agree.sum() / math.sqrt(untied.sum() * length.sum()))
        return value, interval.tau_influence(agree, untied, length)

    def realised_gain(self, score: int = 0) -> Statistic:
        """The normalised Gini coefficient of one of the scores."""
        top, bottom = self.gain[score], self.spread
        if bottom.sum() <= 0:
            return None
        value = float(top.sum() / bottom.sum())
        return value, 2.0 * (top - value * bottom) / float(bottom.mean())


def pair_sums(scores: Sequence[Floats], length: Ints, known: Bools, stratum: Ints) -> RowPairSums:
    """Sum over the pairs of every stratum.

    O(n log n) where all lengths of a stratum are known, else O(n^2) in blocks: half a second at n = 4,096.

    Args:
        scores: one or more rankers' scores, [n] each.
        length: output tokens, or a lower bound of them where not ``known``, [n].
        known: [n].
        stratum: [n].
    """
    columns = np.zeros((_SHARED * (1 + len(scores)), len(length)))
    for rows in strata(stratum):
        whole = bool(known[rows].all())
        mine = [s[rows] for s in scores]
        columns[:, rows] = _of_known(mine, length[rows]) if whole else _of_bounded(mine, length[rows], known[rows])
    own = [tuple(columns[_SHARED + kind :: _SHARED]) for kind in range(_SHARED)]
    return RowPairSums(columns[0], columns[1], columns[2], *own)


def strata(stratum: Ints) -> list[Ints]:
    """The rows of every stratum, in the order of its number."""
    order = np.argsort(stratum, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1) if len(stratum) else []


def _of_known(scores: Sequence[Floats], length: Ints) -> Floats:
    """Columns of one stratum in which every length is known."""
    size = len(length)
    less, most = kendall.spans(length)
    columns = [size - (most - less), _weighed(length, less, most), np.full(size, size - 1)]
    for score in scores:
        less, most = kendall.spans(score)
        columns += [
            kendall.concordance(score, length.astype(np.float64)),
            size - (most - less),
            _signed(length, np.argsort(score), less, most),
        ]
    return np.array(columns, dtype=np.float64)


def _weighed(length: Ints, less: Ints, most: Ints) -> Ints:
    """For every row, the sum of |its length - theirs|."""
    return _signed(length, np.argsort(length), less, most)


def _signed(length: Ints, order: Ints, less: Ints, most: Ints) -> Ints:
    """For every row, its length less theirs: the sum over those before it in ``order``, less that over those after."""
    before = np.concatenate(([0], np.cumsum(length[order])))
    below, above = before[less], before[-1] - before[most]
    signed: Ints = length * (less - (len(length) - most)) - below + above
    return signed


def _of_bounded(scores: Sequence[Floats], length: Ints, known: Bools) -> Floats:
    """Columns of one stratum in which some lengths are lower bounds: goes through all pairs, some rows at a time."""
    size = len(length)
    columns = np.zeros((_SHARED * (1 + len(scores)), size))
    for start in range(0, size, _ROWS):
        rows = slice(start, start + _ROWS)
        step = length[rows, None] - length[None, :]
        mine, theirs = known[rows, None], known[None, :]
        both = mine & theirs
        # One known, and the other has produced more already: the order is known, the difference is not.
        decided = both | (mine & ~theirs & (step < 0)) | (~mine & theirs & (step > 0))
        sign = np.sign(step).astype(np.int8) * decided
        spread = np.where(both, step, 0)
        columns[0, rows] = np.count_nonzero(sign, axis=1)
        columns[1, rows] = np.abs(spread).sum(axis=1)
        columns[2, rows] = np.count_nonzero(decided, axis=1) - known[rows]  # itself is no pair
        for place, score in enumerate(scores, start=1):
            mine_score, their_score = score[rows, None], score[None, :]
            order = (mine_score > their_score).view(np.int8) - (mine_score < their_score).view(np.int8)
            columns[_SHARED * place, rows] = (order * sign).sum(axis=1, dtype=np.int64)
            columns[_SHARED * place + 1, rows] = np.count_nonzero(order * decided, axis=1)
            columns[_SHARED * place + 2, rows] = (order * spread).sum(axis=1)
    return columns
