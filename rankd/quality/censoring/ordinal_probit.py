"""How length depends on score, learned from lengths some of which are only bounded from below.

The model is the Gaussian copula in its ordinal form: a latent ``m(z) + e`` with e standard normal, cut at
thresholds into bins of length, z the normal score of a request's rank among *all* arrivals, waiting ones
included. Thresholds are free, so the lengths may have any distribution. Choosing requests by their score, as a
queue served by score does, leaves the law of length given score as it is, so that the fit to those
that were served holds for those that wait (Pearson and Lawley's range restriction); a lower bound
enters as such (McCullagh 1980; Cox 1972 for censoring that depends on the covariate alone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_LOGITS = np.linspace(-12.0, 12.0, 601)
_QUANTILES = np.array([NormalDist().inv_cdf(1.0 / (1.0 + math.exp(-x))) for x in _LOGITS])
_ERFC = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)
_FAR = 9.0
"""Stands for infinity among the thresholds."""
INFINITE = 36.0
"""Stands for infinity among standardised thresholds: density and tail vanish."""


def normal_scores(less: Ints, most: Ints) -> Floats:
    """Normal quantiles of mid-ranks, from how many values are less than and at most each value."""
    share = (less + most) / (2.0 * len(less))
    return np.asarray(np.interp(np.log(share) - np.log1p(-share), _LOGITS, _QUANTILES))


def upper_tail(x: Floats) -> Floats:
    """P(normal > x) with a relative error below 2e-7 everywhere (Numerical Recipes' erfc)."""
    t = 1.0 / (1.0 + (0.5 / math.sqrt(2.0)) * np.abs(x))
    poly = np.full_like(t, _ERFC[-1])
    for coefficient in reversed(_ERFC[:-1]):
        poly *= t
        poly += coefficient
    tail = 0.5 * t * np.exp(poly - 0.5 * x * x)
    return np.where(x >= 0, tail, 1.0 - tail)


def density(x: Floats) -> Floats:
    """The normal density."""
    return np.asarray(np.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi)))


@dataclass(frozen=True, slots=True)
class Design:
    """What of a request enters the model: its location is ``shape @ slopes``, its log scale ``tilt * gamma``."""

    shape: Floats
    tilt: Floats

    def take(self, rows: Ints) -> Design:
        """The design of some requests."""
        return Design(self.shape[rows], self.tilt[rows])


@dataclass(frozen=True, slots=True)
class BinnedSample:
    """What is fitted to: request i's length lies in the bins low[i] .. high[i], both included."""

    design: Design
    low: Ints
    high: Ints
    bins: int


@dataclass(frozen=True, slots=True)
class LatentFit:
    """Thresholds, slopes and the scale's tilt, and what their uncertainty is made of."""

    cuts: Floats
    """Thresholds with both ends far out: bin k lies between cuts[k] and cuts[k + 1]."""
    slopes: Floats
    gamma: float
    scores: Floats
    """Row i: request i's gradient in (inner thresholds, slopes, gamma)."""
    information: Floats

    def influence(self, gradient: Floats) -> Floats:
        """Every request's influence, through the fit, on a statistic with this gradient in the parameters."""
        return np.asarray(len(self.scores) * (self.scores @ np.linalg.solve(self.information, gradient)))


def standardise(cuts: Floats, model: LatentFit, design: Design) -> tuple[Floats, Floats]:
    """Every threshold as each request sees it (a row each), and each request's precision."""
    precision = np.exp(-model.gamma * design.tilt)
    return (cuts[None, :] - (design.shape @ model.slopes)[:, None]) * precision[:, None], precision


def fit(sample: BinnedSample, ridge: Floats) -> LatentFit | None:
    """Fit by Newton's method; ``ridge`` is the prior precision of (slopes, gamma). None where it does not settle."""
    inner = sample.bins - 1
    theta = np.concatenate((_start(sample), np.zeros(len(ridge))))
    # Halfway to where rankers are found: the latent variance is then 1.25, which widens the thresholds.
    theta[:inner] *= math.sqrt(1.25)
    theta[inner] = 0.5
    step = _Likelihood.at(theta, sample, ridge)
    for _ in range(40):
        direction = _uphill(step.information, step.gradient)
        if direction is None:
            return None
        if float(direction @ step.gradient) < 1e-6:
            break
        scale, trial = 1.0, step
        while scale > 1e-4:
            trial = _Likelihood.at(theta + scale * direction, sample, ridge)
            if trial.value >= step.value:
                break
            scale *= 0.5
        else:
            return None
        theta, step = theta + scale * direction, trial
    else:
        return None
    ends = np.concatenate(([-_FAR], theta[:inner], [_FAR]))
    return LatentFit(
        cuts=ends, slopes=theta[inner:-1], gamma=float(theta[-1]), scores=step.scores, information=step.information
    )


def _uphill(information: Floats, gradient: Floats) -> Floats | None:
    """Newton's direction; damped where the surface is not concave, which happens far from the top only."""
    damping = 0.0
    for _ in range(12):
        try:
            factor = np.linalg.cholesky(information + damping * np.diag(np.abs(np.diag(information)) + 1e-6))
        except np.linalg.LinAlgError:
            damping = max(1e-3, damping * 4.0)
            continue
        direction = np.linalg.solve(factor.T, np.linalg.solve(factor, gradient))
        return np.asarray(direction) if np.isfinite(direction).all() else None
    return None


def _start(sample: BinnedSample) -> Floats:
    """Thresholds that would fit if the score said nothing: a discrete Kaplan-Meier on the normal scale."""
    low, high, bins = sample.low, sample.high, sample.bins
    exact = low == high
    ends = np.bincount(low[exact], minlength=bins).astype(float)
    at_risk = np.cumsum(np.bincount(low, minlength=bins)[::-1])[::-1]
    # Nobody enters late, so those at risk in bin k are all who are known to reach it.
    survival = np.cumprod(1.0 - ends[:-1] / np.maximum(at_risk[:-1], 1))
    survival = np.clip(survival, 1e-4, 1.0 - 1e-4)
    survival = np.minimum.accumulate(survival) - np.arange(bins - 1) * 1e-7
    return np.asarray(np.interp(np.log1p(-survival) - np.log(survival), _LOGITS, _QUANTILES))


@dataclass(frozen=True, slots=True)
class _End:
    """One end of every request's interval on the standardised latent axis."""

    cut: Ints
    """Which threshold it is."""
    x: Floats
    f: Floats
    """Density there, relative to the mass of the interval."""
    jacobian: Floats
    """How it moves with (slopes, gamma); with its own threshold it moves by the precision."""


@dataclass(frozen=True, slots=True)
class _Likelihood:
    """Penalised log-likelihood and its derivatives at one point."""

    value: float
    gradient: Floats
    information: Floats
    scores: Floats

    @classmethod
    def at(cls, theta: Floats, sample: BinnedSample, ridge: Floats) -> _Likelihood:
        """Evaluate at ``theta`` = (inner thresholds, slopes, gamma)."""
        inner = sample.bins - 1
        small = theta[inner:]
        if np.any(np.diff(theta[:inner]) <= 0) or not np.isfinite(theta).all() or abs(theta[-1]) > 2:
            nothing = np.zeros(0)
            return cls(-math.inf, nothing, nothing, nothing)
        design, cuts = sample.design, np.concatenate(([-_FAR], theta[:inner], [_FAR]))
        precision = np.exp(-small[-1] * design.tilt)
        where = design.shape @ small[:-1]
        low, high = sample.low, sample.high + 1
        bottom, top = (cuts[low] - where) * precision, (cuts[high] - where) * precision
        bottom[low == 0], top[high == sample.bins] = -INFINITE, INFINITE
        mass = _between(bottom, top)
        by_slope = -design.shape * precision[:, None]
        below = _End(low, bottom, density(bottom) / mass, np.column_stack((by_slope, -design.tilt * bottom)))
        above = _End(high, top, density(top) / mass, np.column_stack((by_slope, -design.tilt * top)))
        scores = _scores(below, above, precision, sample.bins)
        gradient = scores.sum(axis=0)
        gradient[inner:] -= ridge * small
        information = _information(below, above, precision, sample)
        information[range(inner, len(theta)), range(inner, len(theta))] += ridge
        value = float(np.log(mass).sum()) - 0.5 * float(ridge @ small**2)
        return cls(value, gradient, information, scores)


def _scores(below: _End, above: _End, precision: Floats, bins: int) -> Floats:
    """Every request's own gradient, a row each."""
    rows = np.arange(len(precision))
    by_cut = np.zeros((len(precision), bins + 1))
    by_cut[rows, below.cut] -= below.f * precision
    by_cut[rows, above.cut] += above.f * precision
    small = above.f[:, None] * above.jacobian - below.f[:, None] * below.jacobian
    return np.concatenate((by_cut[:, 1:bins], small), axis=1)


def _between(bottom: Floats, top: Floats) -> Floats:
    """P(bottom < normal < top), from whichever tail keeps the digits."""
    flip = bottom + top < 0
    lower, upper = np.where(flip, -top, bottom), np.where(flip, -bottom, top)
    return np.maximum(upper_tail(lower) - upper_tail(upper), 1e-300)


def _information(below: _End, above: _End, precision: Floats, sample: BinnedSample) -> Floats:
    """Negative Hessian of the log-likelihood in (inner thresholds, slopes, gamma)."""
    tilt, bins, width = sample.design.tilt, sample.bins, sample.bins + 1
    inner, wide = bins - 1, below.jacobian.shape[1]
    # Second derivatives of log(F(top) - F(bottom)) by its two arguments, with the sign turned.
    d_bb, d_tt, d_bt = below.f * (below.f - below.x), above.f * (above.f + above.x), -below.f * above.f
    square = precision * precision
    full = np.bincount(below.cut * (width + 1), d_bb * square, width * width)
    full += np.bincount(above.cut * (width + 1), d_tt * square, width * width)
    full += np.bincount(below.cut * width + above.cut, d_bt * square, width * width)
    full += np.bincount(above.cut * width + below.cut, d_bt * square, width * width)
    by_below = d_bb[:, None] * below.jacobian + d_bt[:, None] * above.jacobian
    by_above = d_tt[:, None] * above.jacobian + d_bt[:, None] * below.jacobian
    small = below.jacobian.T @ by_below + above.jacobian.T @ by_above
    # The ends are bilinear in gamma and the rest, which adds first derivatives to the second ones.
    slope = tilt * precision
    mixed = ((below.f - above.f) * slope) @ sample.design.shape
    small[:-1, -1] += mixed
    small[-1, :-1] += mixed
    small[-1, -1] += float((tilt * tilt) @ (below.f * below.x - above.f * above.x))
    at_below, at_above = by_below * precision[:, None], by_above * precision[:, None]
    at_below[:, -1] -= below.f * slope
    at_above[:, -1] += above.f * slope
    cross = np.empty((width, wide))
    for k in range(wide):
        cross[:, k] = np.bincount(below.cut, at_below[:, k], width) + np.bincount(above.cut, at_above[:, k], width)
    out = np.empty((inner + wide, inner + wide))
    out[:inner, :inner] = full.reshape(width, width)[1:bins, 1:bins]
    out[:inner, inner:] = cross[1:bins]
    out[inner:, :inner] = cross[1:bins].T
    out[inner:, inner:] = small
    return out
