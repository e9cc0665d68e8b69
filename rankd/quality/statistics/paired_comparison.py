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

from rankd.quality.censoring.cohort_tau import effective_horizon
from rankd.quality.statistics import interval
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.pair_sums import Statistic, pair_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LEAST_GROUPS = 8


@dataclass(frozen=True, slots=True)
class PairedSample:
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
class SampleFigures:
    """One ranker on the sample; None where undefined."""

    tau: Interval | None
    realised_gain: Interval | None


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Both rankers, and candidate less incumbent; None where undefined."""

    candidate: SampleFigures
    incumbent: SampleFigures
    tau_difference: Interval | None
    gain_difference: Interval | None
    size: int
    censored: int
    """Completions of which only a lower bound is known."""
    decided_pair_share: float | None
    """Share of the pairs within a served model whose order is known."""
    horizon_tokens: int
    """Lengths were compared as min(length, horizon)."""
    strict_difference: Interval | None = None
    """``tau_difference`` with the interval of ``strict_z``."""


def compare(
    sample: PairedSample, *, horizon: int = 16384, z: float = 1.959964, strict_z: float | None = None
) -> PairedComparison:
    """Compare two rankers: O(n log n) time where all lengths are known, else half a second at n = 4,096.

    Args:
        sample: completions that both scored.
        horizon: lengths are compared up to this many tokens; lowered to where they stop being observed.
        z: normal quantile of the intervals.
        strict_z: of the interval that a verdict rests on; None: the same.
    """
    size = len(sample.tokens)
    if size:
        horizon = effective_horizon(sample.tokens, sample.complete, horizon)
    length = np.minimum(sample.tokens, horizon)
    known = sample.complete | (length >= horizon)
    sums = pair_sums((sample.candidate, sample.incumbent), length, known, sample.stratum)
    taus = [sums.tau_b(ranker) for ranker in (0, 1)]
    gains = [sums.realised_gain(ranker) for ranker in (0, 1)]
    figures = [
        SampleFigures(*(bounded(statistic, sample.group, z) for statistic in pair))
        for pair in zip(taus, gains, strict=True)
    ]
    possible = sum(n * (n - 1) for n in np.unique(sample.stratum, return_counts=True)[1].tolist())
    return PairedComparison(
        candidate=figures[0],
        incumbent=figures[1],
        tau_difference=_difference(taus, sample.group, z),
        gain_difference=_difference(gains, sample.group, z),
        size=size,
        censored=int(np.count_nonzero(~sample.complete)),
        decided_pair_share=float(sums.decided.sum()) / possible if possible else None,
        horizon_tokens=horizon,
        strict_difference=_difference(taus, sample.group, z if strict_z is None else strict_z),
    )


def _difference(pair: list[Statistic], group: Ints, z: float) -> Interval | None:
    first, second = pair
    if first is None or second is None:
        return None
    half = bounded(((first[0] - second[0]) / 2.0, (first[1] - second[1]) / 2.0), group, z)
    return None if half is None else Interval(2.0 * half.value, 2.0 * half.low, 2.0 * half.high)


def bounded(statistic: Statistic, group: Ints, z: float, *, serial: bool = True) -> Interval | None:
    """Put an interval around a statistic; ``group`` and ``serial`` as in ``dependence``."""
    if statistic is None:
        return None
    value, influence = statistic
    return interval.bounded(value, influence * math.sqrt(dependence(influence, group, serial=serial)), z)


def dependence(influence: Floats, group: Ints, *, serial: bool = True) -> float:
    """By how much the variance of a mean of influences exceeds that of independent completions; at least 1.

    Two causes: equal prompts, taken together (a variance by clusters), and neighbours in time that are alike, as in a
    session (Newey and West 1987, with Bartlett's weights). Neither is let below 1. Without ``serial`` only
    the first counts: for rows in no order.
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
    lags = math.ceil(3 * size ** (1 / 3)) if serial else 0
    in_time = alone
    for lag in range(1, min(lags, size - 1) + 1):
        in_time += 2.0 * (1.0 - lag / (lags + 1)) * float(centred[:-lag] @ centred[lag:])
    return max(1.0, clustered / alone, in_time / alone)
