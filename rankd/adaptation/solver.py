"""Ridge regression of log length around the ranker's score, by conjugate gradients from where it was."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.design import Penalty, RidgeDesign, standardised
from rankd.adaptation.head import Head
from rankd.adaptation.rows import Columns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SOFTENING = 20.0
"""Added to lengths before the logarithm is taken: some tokens more or less of a short answer say little. Of 4, 12, 16,
20 and 24 tokens the last two order the mixture of ``benchmarks.adaptation`` best."""
_CLIP = 2.5
"""A length counts as no further from what was expected than this many usual deviations (Huber 1964)."""
_LEAST_SPREAD = 0.25
"""Where most answers are equally long, the others are learned from all the same."""
_BEYOND = 0.5
"""By how much an expected length may lie beyond all that were seen, as a logarithm."""


def log_length(tokens: NDArray[np.int64]) -> Floats:
    """The target, [n]."""
    return np.asarray(np.log(np.clip(tokens, 0, 2**20) + SOFTENING))


def targets(expected: Floats, logs: Floats, complete: NDArray[np.bool_]) -> Floats:
    """Lengths as they are learned, [n].

    A length that is only bounded counts as what is expected above its bound, given what was predicted (the
    expectation step of a Tobit model); one far from what was predicted, as far as ``_CLIP`` deviations.
    """
    rest = logs - expected
    middle, spread = _middle_and_spread(rest[complete] if complete.any() else rest)
    rest = np.where(complete, rest, spread * _mean_above((rest - middle) / spread) + middle)
    return expected + np.clip(rest, middle - _CLIP * spread, middle + _CLIP * spread)


def clipped(rest: Floats) -> Floats:
    """Residuals, none further from the median than ``_CLIP`` deviations."""
    middle, spread = _middle_and_spread(rest)
    return np.clip(rest, middle - _CLIP * spread, middle + _CLIP * spread)


def _middle_and_spread(rest: Floats) -> tuple[float, float]:
    middle = float(np.median(rest))
    return middle, max(1.4826 * float(np.median(np.abs(rest - middle))), _LEAST_SPREAD)


def affine(rows: Columns, weight: Floats, start: Head | None) -> Head:
    """The score alone: an intercept and a slope that is not negative."""
    logs = log_length(rows.tokens)
    expected = start.over(rows) if start is not None else np.full(len(rows), np.median(logs))
    head = start or Head.affine(float(np.median(logs)), 0.0)
    share = weight / weight.sum()
    columns, (middle,), (spread,) = standardised(rows.score[:, None], weight)
    mean = float(share @ columns[:, 0])
    held = columns[:, 0] - mean
    variance = float(share @ np.square(held))
    for _ in range(3):
        target = targets(expected, logs, rows.complete)
        slope = max(float(share @ (held * target)) / variance, 0.0) if variance > 1e-6 else 0.0
        intercept = float(share @ target) - slope * (float(middle / spread) + mean)
        head = Head.affine(intercept, slope / float(spread)).bounded(*_bounds(logs))
        expected = head.over(rows)
    return head


def ridge(
    rows: Columns,
    weight: Floats,
    start: Head,
    *,
    text: bool = True,
    penalty: Penalty | None = None,
    prior: Head | None = None,
    iterations: int = 12,
    tolerance: float = 1e-2,
) -> Head:
    """All features, penalised towards ``prior`` (nothing where there is none).

    Args:
        rows: completions.
        weight: how much each counts, [n].
        start: where the search starts, and what bounds and outliers are judged by.
        text: whether words and pooled features count.
        penalty: of the weights.
        prior: weights that are as good as none of these rows knows better.
        iterations: at most so many passes over the rows.
        tolerance: the search ends where the error's norm is this part of what it is without any weights.
    """
    design = RidgeDesign(rows, weight, text=text, penalty=penalty or Penalty())
    logs = log_length(rows.tokens)
    target = targets(start.over(rows), logs, rows.complete)
    level = float(weight @ target / weight.sum())
    at = design.parameters(start)
    pull = design.parameters(prior) * design.precision if prior is not None else np.float32(0.0)
    weighted = ((target - level) * weight).astype(np.float32)
    goal = design.transposed_times(weighted) + pull
    return design.head(_conjugate_gradients(design, goal, at, iterations, tolerance), level).bounded(*_bounds(logs))


def _bounds(logs: Floats) -> tuple[float, float]:
    return float(logs.min()) - _BEYOND, float(logs.max()) + _BEYOND


def _conjugate_gradients(design: RidgeDesign, goal: Singles, at: Singles, iterations: int, tolerance: float) -> Singles:
    rest = goal - design.normal(at)
    if float(at @ (goal + rest)) < 0.0 or not np.isfinite(rest).all():
        # Worse than no weights at all, as after a change of what columns are measured in.
        at, rest = np.zeros_like(at), goal
    step = design.preconditioner * rest
    direction: Singles = step
    energy = float(rest @ step)
    enough = tolerance**2 * float(goal @ (design.preconditioner * goal))
    for _ in range(iterations):
        if energy <= enough:
            break
        moved = design.normal(direction)
        length = energy / max(float(direction @ moved), 1e-20)
        at = (at + np.float32(length) * direction).astype(np.float32)
        rest = rest - np.float32(length) * moved
        step = design.preconditioner * rest
        energy, before = float(rest @ step), energy
        direction = (step + np.float32(energy / before) * direction).astype(np.float32)
    return at


def _mean_above(bound: Floats) -> Floats:
    """Expectation of a standard normal variable above a bound: the inverse of Mills' ratio."""
    # Far out the ratio of two tiny numbers is lost; there it is the bound and a little more.
    near = np.minimum(bound, 5.0)
    tail = 0.5 * np.array([math.erfc(b / math.sqrt(2.0)) for b in near.tolist()])
    found = np.exp(-0.5 * near**2) / math.sqrt(2.0 * math.pi) / np.maximum(tail, 1e-12)
    return np.where(bound > 5.0, bound + 1.0 / np.maximum(bound, 1.0), found)
