"""Least squares with coefficients of at least 0, robust weights, and intervals for errors that are alike in time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.rules import FloatArray

TINY = 1e-9
_REWEIGHTINGS = 6
_HUBER = 1.345
"""Standard deviations from which on errors count less: 95 % efficient where they are normal."""
_BLOCKS = 8
"""That the interval is made from: few, so that they are longer than errors stay alike."""
_CAUTION = 1.2
"""For what leaving out blocks does not show; found by simulation (``benchmarks.cost_coverage``)."""
_MAD = 1.4826
"""Median absolute deviation to standard deviation, where errors are normal."""


@dataclass(frozen=True, slots=True)
class Regression:
    """What something is explained by."""

    columns: FloatArray
    """[n, k]"""
    stand_in: FloatArray
    """What stands in for them where they depend on it themselves, [n, k]."""

    def normal_equations(
        self, ran: FloatArray, weights: FloatArray, rows: slice = slice(None)
    ) -> tuple[FloatArray, FloatArray]:
        """Left and right side, of some rows."""
        weighted = self.stand_in[rows] * weights[rows, None]
        return weighted.T @ self.columns[rows], weighted.T @ ran[rows]


def robust(
    design: Regression, ran: FloatArray, expected: FloatArray, learned: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Weighted least squares with Huber's weights, where errors grow with what is expected.

    Args:
        design: the columns.
        ran: what they are to explain, above 0, [n].
        expected: the same as is expected of each, above 0, [n].
        learned: which count, [n].

    Returns:
        Coefficients, none below 0, [k], and the weights of rows, [n].
    """
    scale = np.maximum(expected, np.quantile(expected[learned], 0.1))
    weights = learned / scale**2
    found = _non_negative(*design.normal_equations(ran, weights))
    least = TINY * float(np.median(ran[learned]))
    for _ in range(_REWEIGHTINGS):
        error = np.abs(ran - design.columns @ found)
        if np.median(error[learned]) <= least:
            break
        scale = _scale(error, expected, learned)
        weights = learned * np.minimum(1, _HUBER * scale / np.maximum(error, least)) / scale**2
        found = _non_negative(*design.normal_equations(ran, weights))
    return found, weights


def _scale(error: FloatArray, expected: FloatArray, learned: NDArray[np.bool_]) -> FloatArray:
    """Standard deviations of errors, which grow with the run time from the least on, [n]."""
    low, high = np.quantile(expected[learned], (1 / 3, 2 / 3))
    short, long = learned & (expected <= low), learned & (expected >= high)
    from_, to = float(np.median(expected[short])), float(np.median(expected[long]))
    of_short, of_long = float(np.median(error[short])), float(np.median(error[long]))
    slope = (of_long - of_short) / (to - from_) if to > from_ else 0.0
    slope = min(max(slope, 0.0), of_long / to)
    least = max(of_short - slope * from_, 1e-3 * of_long)
    scale: FloatArray = np.maximum(_MAD * (least + slope * expected), TINY)
    return scale


def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """The solution, the shortest of several, in units in which all columns are alike, [k]; NaN where it overflows."""
    unit = np.sqrt(np.maximum(np.abs(np.diag(matrix)), TINY**4))
    matrix, right = matrix / np.outer(unit, unit), right / unit
    if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
        return np.full(len(right), np.nan)  # LAPACK would compute for ever
    try:
        found: FloatArray = np.linalg.lstsq(matrix, right, rcond=TINY)[0] / unit
    except np.linalg.LinAlgError:
        return np.full(len(right), np.nan)
    return found


def _non_negative(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """The solution with the most negative entries set to 0, one by one, [k]."""
    found = np.zeros(len(right))
    left = list(range(len(right)))
    while left:
        part = _solved(matrix[np.ix_(left, left)], right[left])
        if not part.min() < 0:
            found[left] = part
            break
        del left[int((part * np.sqrt(np.abs(np.diag(matrix)[left]))).argmin())]
    return found


def jackknife(design: Regression, ran: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients, and how far their 95 % intervals reach to either side, by leaving out blocks of rows, [k]."""
    edges = np.linspace(0, len(ran), _BLOCKS + 1).astype(int)
    parts = [design.normal_equations(ran, weights, slice(*edge)) for edge in itertools.pairwise(edges.tolist())]
    matrices, rights = (np.array(column) for column in zip(*parts, strict=True))
    matrix, right = matrices.sum(axis=0), rights.sum(axis=0)
    whole = _non_negative(matrix, right)
    spread = np.empty(len(whole))
    for column in range(len(whole)):
        # One at 0 may be below for this, or nothing would be known of how far above it may be.
        used = np.flatnonzero((whole > 0) | (np.arange(len(whole)) == column))
        part = np.ix_(used, used)
        left_out = np.array([_solved((matrix - m)[part], (right - r)[used]) for m, r in parts])[:, used == column]
        spread[column] = math.sqrt((_BLOCKS - 1) / _BLOCKS * ((left_out - left_out.mean()) ** 2).sum())
    return whole, _CAUTION * _t_quantile(_BLOCKS - 1) * spread


def _t_quantile(degrees: int) -> float:
    """The 97.5th percentile of Student's t (Cornish and Fisher's expansion, within .5 % from 5 degrees on)."""
    z, v = 1.959964, degrees
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
