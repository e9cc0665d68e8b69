"""A cohort's tau as sums: what one replica sends another, and how the sums of several become one tau.

Three averages over pairs and their covariance are all that tau-b and its interval need. Weighted by how many requests
each replica takes at present they add up to the fleet's, stratified by replica (docs/science/fleet.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics import interval
from rankd.quality.statistics.interval import Interval

Floats = NDArray[np.float64]
_NOTHING = 1e-30
"""Less than any cohort's pairs come to: a peer said so, and a division by it would be by zero, or overflow."""


@dataclass(frozen=True, slots=True)
class CohortSums:
    """What a cohort says, without its requests."""

    size: int
    known: float
    """Requests of known length; of several cohorts, those that an equally weighted one would need."""
    decided: float
    """Share of pairs whose order is known."""
    horizon: int
    """Lengths are compared up to so many tokens; of several cohorts, the least."""
    means: tuple[float, float, float]
    """Over pairs: agreement (sgn * sgn), untied in score, untied in length."""
    covariance: tuple[float, ...]
    """Of these means, row by row: nine numbers."""
    doubt: float
    """Standard deviation of what is no sampling error."""

    @classmethod
    def of(cls, found: CohortTau, columns: Floats, learned: Floats | None, doubt: float) -> CohortSums:
        """Sum up a cohort.

        Args:
            found: its numbers; the tau is not used.
            columns: per request, sums over its pairs as ``means`` has them, [n, 3].
            learned: what each request adds to the estimated means through the model's parameters, times n and in the
                columns' unit; None where nothing is estimated.
            doubt: standard deviation of the model's own error.
        """
        n = len(columns)
        rows = (columns if learned is None else columns + learned) / (n - 1)
        rows = rows - rows.mean(axis=0)
        # Hoeffding's projection doubles; the jackknife's factor for a statistic of pairs, as in interval.bounded.
        covariance = 4.0 * (rows.T @ rows) * (n - 1) / (n * (n - 2) ** 2)
        agree, score, length = (columns.mean(axis=0) / (n - 1)).tolist()
        return cls(
            size=n,
            known=found.known,
            decided=found.decided_pair_share or 0.0,
            horizon=found.horizon_tokens or 1,
            means=(agree, score, length),
            covariance=tuple(covariance.ravel().tolist()),
            doubt=doubt,
        )

    def tau(self, z: float) -> Interval | None:
        """Tau-b with its interval; None where it is undefined."""
        a, b, c = self.means
        if b <= 0 or c <= 0 or b * c < _NOTHING:
            return None
        tau = a / math.sqrt(b * c)
        gradient = np.array([1.0 / math.sqrt(b * c), -tau / (2 * b), -tau / (2 * c)])
        variance = float(gradient @ np.reshape(self.covariance, (3, 3)) @ gradient)
        return interval.around(tau, math.sqrt(max(variance, 0.0) + self.doubt**2), z)

    def as_cohort(self, z: float) -> CohortTau:
        """What a guard decides on."""
        pairs = self.size * (self.size - 1) // 2
        return CohortTau(
            self.tau(z), self.size, int(self.known), int(self.decided * pairs), self.decided, self.horizon, self
        )


def combined(parts: Sequence[tuple[float, CohortSums]]) -> CohortSums:
    """The sums of several replicas, each with its weight (above 0; how many requests it takes per second)."""
    total = sum(weight for weight, _ in parts)
    shares = [(weight / total, sums) for weight, sums in parts]
    means = np.sum([w * np.array(s.means) for w, s in shares], axis=0).tolist()
    return CohortSums(
        size=sum(s.size for _, s in shares),
        known=1.0 / sum(w * w / max(s.known, 1e-9) for w, s in shares),
        decided=sum(w * s.decided for w, s in shares),
        horizon=min(s.horizon for _, s in shares),
        means=(means[0], means[1], means[2]),
        covariance=tuple(np.sum([w * w * np.array(s.covariance) for w, s in shares], axis=0).tolist()),
        # One model errs everywhere in the same way: standard deviations add up.
        doubt=sum(w * s.doubt for w, s in shares),
    )


@dataclass(frozen=True, slots=True)
class CohortTau:
    """Kendall's tau-b of the requests that arrived in a window, lengths restricted to a horizon.

    ``tau`` is None where too little has been observed. Pairs beyond ``decided_pair_share`` count the
    order that is to be expected of them.
    """

    tau: Interval | None
    size: int
    known: int
    decided_pairs: int
    decided_pair_share: float | None
    horizon_tokens: int | None
    sums: CohortSums | None = None
    """What it is made of, to be added up with other replicas'; there from fewer known lengths on than a tau."""
    tied: bool = False
    """There is no tau since all scores are equal, though enough lengths are known: they order nothing."""
