"""Two rankers on the same completions: is one better, and how surely?

Both tau-b are taken over the same pairs, those whose order is known, so that a request cut short counts wherever it is
known to be the longer one. A difference of two such statistics has as influence the difference of theirs (the delta
method again, see ``interval``): what the rankers have in common cancels out, which makes a paired interval several
times narrower than the two intervals would suggest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality import interval
from rankd.quality.censored import effective_horizon
from rankd.quality.report import Bounded

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROWS = 256
"""Rows of the pair matrix that are held at once: 256 x 4,096 pairs take some 10 MB."""
_LEAST_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """Completions that both rankers scored, in the order in which they ended; every column is [n]."""

    candidate: Floats
    """Scores of the ranker that wants in."""
    incumbent: Floats
    """Scores of the ranker in service."""
    tokens: Ints
    """Output tokens; a lower bound where not ``complete``."""
    complete: Bools
    stratum: Ints
    """Served model: pairs count within one only, as lengths of two models do not compare."""
    group: Ints
    """Equal for equal prompts, which are one piece of evidence, not several."""

    def __post_init__(self) -> None:
        """Refuse columns that do not belong together."""
        if len({len(getattr(self, name)) for name in self.__slots__}) != 1:
            raise ValueError("every column of a sample must have one entry per completion")


@dataclass(frozen=True, slots=True)
class Figures:
    """One ranker on the sample; None where undefined."""

    tau: Bounded | None
    realised_gain: Bounded | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both rankers, and candidate less incumbent; None where undefined."""

    candidate: Figures
    incumbent: Figures
    tau_difference: Bounded | None
    gain_difference: Bounded | None
    size: int
    censored: int
    """Completions of which only a lower bound is known."""
    decided_pair_share: float | None
    """Share of the pairs within a served model whose order is known."""
    horizon_tokens: int
    """Lengths were compared as min(length, horizon)."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Per completion, sums over its pairs: all float64[n]."""

    length_untied: Floats
    spread: Floats
    decided: Floats
    agree: tuple[Floats, Floats]
    score_untied: tuple[Floats, Floats]
    gain: tuple[Floats, Floats]


def compare(sample: Sample, *, horizon: int = 16384, z: float = 1.959964) -> Comparison:
    """Compare two rankers: O(n^2) time in blocks, half a second at n = 4,096.

    Args:
        sample: completions that both scored.
        horizon: lengths are compared up to this many tokens; lowered to where they stop being observed.
        z: normal quantile of the intervals.
    """
    size = len(sample.tokens)
    if size:
        horizon = effective_horizon(sample.tokens, sample.complete, horizon)
    length = np.minimum(sample.tokens, horizon)
    known = sample.complete | (length >= horizon)
    sums = _pair_sums(sample, length, known)
    taus = [_tau_influence(sums, ranker) for ranker in (0, 1)]
    gains = [_gain_influence(sums, ranker) for ranker in (0, 1)]
    figures = [
        Figures(*(_bounded(statistic, sample.group, z) for statistic in pair)) for pair in zip(taus, gains, strict=True)
    ]
    possible = sum(n * (n - 1) for n in np.unique(sample.stratum, return_counts=True)[1].tolist())
    return Comparison(
        candidate=figures[0],
        incumbent=figures[1],
        tau_difference=_difference(taus, sample.group, z),
        gain_difference=_difference(gains, sample.group, z),
        size=size,
        censored=int(np.count_nonzero(~sample.complete)),
        decided_pair_share=float(sums.decided.sum()) / possible if possible else None,
        horizon_tokens=horizon,
    )


def _pair_sums(sample: Sample, length: Ints, known: Bools) -> _Sums:
    """Go through all pairs, some rows at a time."""
    size = len(length)
    columns = np.zeros((9, size))
    scores = (sample.candidate, sample.incumbent)
    for start in range(0, size, _ROWS):
        rows = slice(start, start + _ROWS)
        step = length[rows, None] - length[None, :]
        mine, theirs = known[rows, None], known[None, :]
        same = sample.stratum[rows, None] == sample.stratum[None, :]
        both = same & mine & theirs
        # One known, and the other has produced more already: the order is known, the difference is not.
        decided = both | (same & mine & ~theirs & (step < 0)) | (same & ~mine & theirs & (step > 0))
        sign = np.sign(step).astype(np.int8) * decided
        spread = np.where(both, step, 0)
        columns[0, rows] = np.count_nonzero(sign, axis=1)
        columns[1, rows] = np.abs(spread).sum(axis=1)
        columns[2, rows] = np.count_nonzero(decided, axis=1) - known[rows]  # itself is no pair
        for ranker, score in enumerate(scores):
            mine_score, their_score = score[rows, None], score[None, :]
            order = (mine_score > their_score).view(np.int8) - (mine_score < their_score).view(np.int8)
            columns[3 + ranker, rows] = (order * sign).sum(axis=1, dtype=np.int64)
            columns[5 + ranker, rows] = np.count_nonzero(order * decided, axis=1)
            columns[7 + ranker, rows] = (order * spread).sum(axis=1)
    c = columns
    return _Sums(c[0], c[1], c[2], (c[3], c[4]), (c[5], c[6]), (c[7], c[8]))


Statistic = tuple[float, Floats] | None
"""A value and each completion's influence on it; None where it is undefined."""


def _tau_influence(sums: _Sums, ranker: int) -> Statistic:
    agree, untied, length = sums.agree[ranker], sums.score_untied[ranker], sums.length_untied
    if length.sum() <= 0:
        return None
    if untied.sum() <= 0:
        return 0.0, np.zeros(len(agree))  # scores all alike order nothing
    value = float(agree.sum() / math.sqrt(untied.sum() * length.sum()))
    return value, interval.tau_influence(agree, untied, length)


def _gain_influence(sums: _Sums, ranker: int) -> Statistic:
    top, bottom = sums.gain[ranker], sums.spread
    if bottom.sum() <= 0:
        return None
    value = float(top.sum() / bottom.sum())
    return value, 2.0 * (top - value * bottom) / float(bottom.mean())


def _difference(pair: list[Statistic], group: Ints, z: float) -> Bounded | None:
    first, second = pair
    if first is None or second is None:
        return None
    half = _bounded(((first[0] - second[0]) / 2.0, (first[1] - second[1]) / 2.0), group, z)
    return None if half is None else Bounded(2.0 * half.value, 2.0 * half.low, 2.0 * half.high)


def _bounded(statistic: Statistic, group: Ints, z: float) -> Bounded | None:
    if statistic is None:
        return None
    value, influence = statistic
    return interval.bounded(value, influence * math.sqrt(dependence(influence, group)), z)


def dependence(influence: Floats, group: Ints) -> float:
    """By how much the variance of a mean of influences exceeds that of independent completions; at least 1.

    Two causes: equal prompts, taken together (a variance by clusters), and neighbours in time that are alike, as in a
    session (Newey and West 1987, with Bartlett's weights). Below 1 neither is believed.
    """
    size = len(influence)
    centred = influence - influence.mean() if size else influence
    alone = float(centred @ centred)
    if alone <= 0:
        return 1.0
    _, place = np.unique(group, return_inverse=True)
    groups = int(place.max()) + 1
    clustered = 0.0
    if _LEAST_GROUPS <= groups < size:
        clustered = float(np.square(np.bincount(place, weights=centred)).sum()) * groups / (groups - 1)
    lags = math.ceil(3 * size ** (1 / 3))
    serial = alone
    for lag in range(1, min(lags, size - 1) + 1):
        serial += 2.0 * (1.0 - lag / (lags + 1)) * float(centred[:-lag] @ centred[lag:])
    return max(1.0, clustered / alone, serial / alone)
