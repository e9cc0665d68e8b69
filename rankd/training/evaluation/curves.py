"""What the pictures show: calibration by bins, lengths by place in the order, and the curve of the gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rankd_client.calibration import Calibration, length_summary

from rankd.quality.statistics.kendall import spans
from rankd.quality.statistics.pair_sums import strata
from rankd.training.evaluation.figures import ScoredRows

Floats = NDArray[np.float64]

CALIBRATION_BINS = 10
BANDS = 20
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_ROWS_PER_BAND = 100
"""Fewer make the outer quantiles jump."""
CURVE_POINTS = 101


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows of similar expected length; lengths in tokens."""

    rows: int
    expected: float
    actual: float
    """Mean length; Kaplan and Meier's, where some are lower bounds."""


@dataclass(frozen=True, slots=True)
class CalibrationQuality:
    """How far the ranker's calibration can be believed on these rows."""

    bins: list[CalibrationBin]
    expected_tokens: float
    """Mean of the expected lengths."""
    actual_tokens: float
    """Mean length; Kaplan and Meier's, where some are lower bounds."""
    below_p50: float | None
    """Share of the answers, of those of which it is known, that end by the predicted median: .5 would be right."""
    below_p90: float | None
    """The same of the predicted 90th percentile: .9 would be right."""


@dataclass(frozen=True, slots=True)
class Band:
    """Answers that follow each other in the ranker's order. ``place`` is the share served before its middle."""

    place: float
    rows: int
    tokens: tuple[float, ...]
    """Quantiles of length at ``QUANTILES``; a lower bound counts as it is."""


@dataclass(frozen=True, slots=True)
class GainCurve:
    """Share of all tokens that the first part of a queue takes, by share of its requests served."""

    served: Floats
    ranker: Floats
    oracle: Floats
    """In order of true length. Realised gain is how much of the area between it and the diagonal the ranker fills."""


def calibration_quality(sample: ScoredRows, calibration: Calibration) -> CalibrationQuality:
    """Hold the map against what the rows say; lengths up to the sample's horizon."""
    expected, length = calibration.expected(sample.score), sample.length.astype(np.float64)
    bins = []
    for rows in _equal_parts(expected, CALIBRATION_BINS):
        actual = length_summary(length[rows], sample.known[rows])[0]
        bins.append(CalibrationBin(len(rows), float(expected[rows].mean()), actual))
    return CalibrationQuality(
        bins,
        float(expected.mean()),
        length_summary(length, sample.known)[0],
        _below(sample, calibration.p50(sample.score)),
        _below(sample, calibration.p90(sample.score)),
    )


def _equal_parts(values: Floats, most: int) -> list[NDArray[np.int64]]:
    """Rows in parts of about equal number by their value; equal values stay together."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    wanted = np.linspace(0, len(order), min(most, len(order)) + 1)[1:-1].round().astype(np.int64)
    cuts = np.unique(np.searchsorted(ordered, ordered[wanted], side="left"))
    return [part for part in np.split(order, cuts) if len(part)]


def _below(sample: ScoredRows, limit: Floats | None) -> float | None:
    if limit is None:
        return None
    above = sample.length > limit
    decided = above | sample.known
    return float((decided & ~above).sum() / decided.sum()) if decided.any() else None


def places(sample: ScoredRows) -> Floats:
    """For every row, the share of its source and model that is served before it; ties share theirs, [n]."""
    out = np.empty(len(sample.score))
    for rows in strata(sample.stratum):
        less, most = spans(sample.score[rows])
        out[rows] = (less + most) / (2.0 * len(rows))
    return out


def length_bands(sample: ScoredRows) -> list[Band]:
    """Quantiles of length along the ranker's order."""
    place = places(sample)
    count = max(1, min(BANDS, len(place) // _ROWS_PER_BAND))
    return [
        Band(float(place[rows].mean()), len(rows), tuple(np.quantile(sample.length[rows], QUANTILES).tolist()))
        for rows in np.array_split(np.argsort(place, kind="stable"), count)
    ]


def gain_curve(sample: ScoredRows) -> GainCurve | None:
    """The curve, over rows of known length; None where all lengths are zero.

    Curves of several sources and models are averaged in such a way (rows times tokens) that the share of the area is
    their common realised gain.
    """
    served = np.linspace(0.0, 1.0, CURVE_POINTS)
    ranker, oracle, total = np.zeros(CURVE_POINTS), np.zeros(CURVE_POINTS), 0.0
    known = np.flatnonzero(sample.known)
    for here in strata(sample.stratum[known]):
        rows = known[here]
        length = sample.length[rows].astype(np.float64)
        weight = len(rows) * length.sum()
        ranker += weight * _concentration(sample.score[rows], length, served)
        oracle += weight * _concentration(length, length, served)
        total += weight
    return GainCurve(served, ranker / total, oracle / total) if total > 0 else None


def _concentration(key: Floats, length: Floats, served: Floats) -> Floats:
    """Share of the tokens among the first ``served`` of the rows by ``key``; equal keys in proportion."""
    order = np.argsort(key, kind="stable")
    taken = np.concatenate(([0.0], np.cumsum(length[order])))
    last = np.concatenate(([0], np.flatnonzero(np.diff(key[order])) + 1, [len(key)]))
    curve: Floats = np.interp(served, last / len(key), taken[last] / max(taken[-1], 1.0))
    return curve
