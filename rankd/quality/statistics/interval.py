"""Confidence intervals of ratios of U-statistics by the delta method.

Every statistic here is built from averages over pairs. Item i's mean over its pairs is, up to a factor
of two and the grand mean, its influence on the average (Hoeffding's projection; Sen 1960), so that the
per-item sums that the statistic is made of give its standard error at no extra cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 8
"""Items below which no interval is attempted."""


def bounded(value: float, influence: Floats, z: float, doubt: float = 0.0) -> Interval | None:
    """Put an interval around ``value``, a statistic in [-1, 1], given each item's influence on it.

    The interval is symmetric in Fisher's atanh(value), which keeps it inside [-1, 1] and brings its
    coverage near the nominal in small samples and near the ends. ``doubt`` is a standard deviation of what
    is no sampling error, added to it.
    """
    n = len(influence)
    if n < LEAST:
        return None
    centred = influence - influence.mean()
    # The jackknife's factor for a statistic of pairs, rather than the plain 1 / n**2.
    variance = float(centred @ centred) * (n - 1) / (n * (n - 2) ** 2)
    return around(value, math.sqrt(max(variance, 0.0) + doubt * doubt), z)


def around(value: float, deviation: float, z: float) -> Interval | None:
    """Put an interval around a statistic in [-1, 1] of this standard deviation, symmetric in atanh(value)."""
    if not math.isfinite(deviation) or not math.isfinite(value):
        return None
    inside = min(max(value, -1.0), 1.0)
    slope = 1.0 - inside * inside
    if slope <= 1e-12:
        # Every pair agrees: the data show no variation to make an interval of.
        return Interval(inside, inside, inside)
    centre, half = math.atanh(inside), z * deviation / slope
    return Interval(inside, math.tanh(centre - half), math.tanh(centre + half))


def tau_interval(a: Floats, b: Floats, c: Floats, z: float) -> Interval | None:
    """Tau-b with its interval from per-item sums of sgn*sgn, and of untied pairs in score and length."""
    total_a, total_b, total_c = float(a.sum()), float(b.sum()), float(c.sum())
    if total_b <= 0 or total_c <= 0:
        return None
    return bounded(total_a / math.sqrt(total_b * total_c), tau_influence(a, b, c), z)


def tau_influence(a: Floats, b: Floats, c: Floats) -> Floats:
    """Each item's influence on A / sqrt(B * C), the sums taken over all of an item's pairs."""
    mean_a, mean_b, mean_c = float(a.mean()), float(b.mean()), float(c.mean())
    root = math.sqrt(mean_b * mean_c)
    tau = mean_a / root
    return np.asarray(2.0 * ((a - mean_a) / root - 0.5 * tau * ((b - mean_b) / mean_b + (c - mean_c) / mean_c)))


def ratio_interval(top: Floats, bottom: Floats, z: float) -> Interval | None:
    """The ratio of two sums over pairs, with its interval, from their per-item sums."""
    mean_top, mean_bottom = float(top.mean()), float(bottom.mean())
    if mean_bottom <= 0:
        return None
    ratio = mean_top / mean_bottom
    return bounded(ratio, 2.0 * (top - ratio * bottom) / mean_bottom, z)


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with the ends of its confidence interval."""

    value: float
    low: float
    high: float
