"""From score to length: a monotone map, learned from requests whose length became known.

A score has no unit and is comparable within one ranker only; an expected length in tokens is comparable everywhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rankd_client._interpolation import value_between

FloatArray = NDArray[np.float64]
_MAPS = ("expected", "p50", "p90")


@dataclass(frozen=True, slots=True)
class Knot:
    """One point of the map: lengths in output tokens; None where unknown."""

    score: float
    expected: float
    p50: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A piecewise linear, never decreasing map from score to length.

    Beyond the outermost knots it goes on, so that scores never seen before are not all tied: to a point as far away
    again as the knots reach, with the slope (of the length's logarithm) of the outermost two, by a factor of 2 at
    most. From there on it is constant.

    ``mean_expected`` is the expected length of a request of which nothing is known.
    """

    knots: tuple[Knot, ...]
    mean_expected: float
    _points: dict[str, tuple[FloatArray, FloatArray] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Points of the maps, by what they give, made when first asked for; None where that is unknown."""
    _lists: list[list[float] | None] = field(default_factory=list, init=False, repr=False, compare=False)
    """The same in plain numbers: scores, and what each map gives."""

    def __post_init__(self) -> None:
        """Refuse what is not such a map.

        Raises:
            ValueError: naming the knot at fault.
        """
        if not self.knots:
            raise ValueError("a calibration needs at least one knot")
        for name in ("expected", "p50", "p90"):
            values = [getattr(k, name) for k in self.knots]
            if any(v is None for v in values):
                if name == "expected" or any(v is not None for v in values):
                    raise ValueError(
                        f"{name} must be given for every knot" + ("" if name == "expected" else ", or for none")
                    )
                continue
            if not np.isfinite(values).all() or min(values) < 0 or (np.diff(values) < 0).any():
                raise ValueError(f"{name} must be finite, at least 0 and never decrease from knot to knot")
        scores = [k.score for k in self.knots]
        if not np.isfinite(scores).all() or any(a >= b for a, b in pairwise(scores)):
            raise ValueError("score must be finite and increase strictly from knot to knot")
        if not (np.isfinite(self.mean_expected) and self.mean_expected >= 0):
            raise ValueError("mean_expected must be finite and at least 0")

    def expected(self, scores: FloatArray) -> FloatArray:
        """Expected lengths in tokens, same shape as ``scores``."""
        points = self._map("expected")
        assert points is not None  # of every knot
        return np.interp(scores, *points)

    def p50(self, scores: FloatArray) -> FloatArray | None:
        """Median lengths in tokens; None where unknown."""
        points = self._map("p50")
        return None if points is None else np.interp(scores, *points)

    def p90(self, scores: FloatArray) -> FloatArray | None:
        """90th percentiles of length in tokens; None where unknown."""
        points = self._map("p90")
        return None if points is None else np.interp(scores, *points)

    def at(self, score: float) -> tuple[float, float | None, float | None]:
        """Expected length, median and 90th percentile of one score, as the maps for columns have them.

        ``np.interp`` in plain numbers: three maps over the same scores, at a tenth of what three calls take.
        """
        if not self._lists:
            points = [self._map(name) for name in _MAPS]
            assert points[0] is not None  # of every knot
            self._lists.append(points[0][0].tolist())
            self._lists.extend(None if each is None else each[1].tolist() for each in points)
        scores, expected, p50, p90 = self._lists
        assert scores is not None
        assert expected is not None
        at = bisect_right(scores, score) - 1
        return (
            value_between(scores, expected, at, score),
            None if p50 is None else value_between(scores, p50, at, score),
            None if p90 is None else value_between(scores, p90, at, score),
        )

    def rising(self) -> Calibration:
        """The same map with its flat stretches ``centred``, so that no two scores are tied without need."""
        scores = np.array([k.score for k in self.knots])
        expected = centred(scores, np.array([k.expected for k in self.knots])).tolist()
        p50, p90 = ([getattr(k, name) for k in self.knots] for name in ("p50", "p90"))
        low = p50 if None in p50 else centred(scores, np.array(p50)).tolist()
        high = p90 if None in p90 else centred(scores, np.array(p90)).tolist()
        if None not in low and None not in high:
            high = np.maximum(low, high).tolist()
        knots = zip(scores.tolist(), expected, low, high, strict=True)
        return Calibration(tuple(Knot(*knot) for knot in knots), self.mean_expected)

    def to_knots(self) -> tuple[Knot, ...]:
        """The points of the map."""
        return self.knots

    def _map(self, name: str) -> tuple[FloatArray, FloatArray] | None:
        """The points of a map, scores and lengths."""
        if name not in self._points:
            values = [getattr(k, name) for k in self.knots]
            known = None if None in values else _with_ends([k.score for k in self.knots], values)
            self._points[name] = None if known is None else (np.array(known[0]), np.array(known[1]))
        return self._points[name]


def _with_ends(scores: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of a map and one more on either side, where it has a slope there."""
    span = scores[-1] - scores[0]
    if not (span > 0 and np.isfinite([scores[0] - span, scores[-1] + span]).all()):
        return list(scores), list(values)
    below = _growth(values[0], values[1], span / (scores[1] - scores[0]))
    above = _growth(values[-2], values[-1], span / (scores[-1] - scores[-2]))
    return [scores[0] - span, *scores, scores[-1] + span], [values[0] / below, *values, values[-1] * above]


def _growth(less: float, more: float, steps: float) -> float:
    """What a length grows by in so many steps from ``less`` to ``more``: 1 to 2."""
    if not 0 < less < more:
        return 2.0 if less < more else 1.0
    return math.exp(min(math.log(2), steps * math.log(more / less)))


def fit_monotone(
    scores: FloatArray,
    tokens: NDArray[np.int64],
    complete: NDArray[np.bool_],
    *,
    prior: Calibration | None = None,
    prior_weight: float = 200.0,
    knots: int = 32,
) -> Calibration:
    """Learn the map from completions.

    Quantile bins of the score; in each the mean and quantiles of length by Kaplan and Meier's estimate, so that
    requests cut short count as "at least"; blended with the prior, which counts for ``prior_weight`` completions over
    all bins; made monotone by pooling adjacent violators (Ayer et al. 1955), weighted by completions, and strictly so
    by ``centred``.

    Args:
        scores: scores, [n]; rows without a finite one are left out.
        tokens: lengths, or lower bounds of them where not ``complete``, [n].
        complete: whether the length is known, [n].
        prior: what was believed before; None where nothing was.
        prior_weight: completions that the prior counts for.
        knots: most points of the result.

    Returns:
        The map; the prior where there is nothing to learn from.

    Raises:
        ValueError: there is neither a completion nor a prior.
    """
    # NaN and infinities sort last; with them gone, any scores give a map: reports come from strangers.
    order = np.argsort(np.where(np.isfinite(scores), scores, np.nan), kind="stable")[: np.isfinite(scores).sum()]
    scores, lengths, known = scores[order], tokens[order].astype(np.float64), complete[order]
    bins = _bins(scores, knots)
    if not bins:
        if prior is None:
            raise ValueError("there is neither a completion nor a prior to learn from")
        return prior
    centres = np.array([_centre(scores[a:b]) for a, b in bins])
    counts = np.array([b - a for a, b in bins], dtype=np.float64)
    rows = np.array([length_summary(lengths[a:b], known[a:b]) for a, b in bins])
    weights = counts
    if prior is not None:
        rows = _blended(rows, counts, centres, prior, prior_weight / len(bins))
        weights = counts + prior_weight / len(bins)
    mean = float((rows[:, 0] * counts).sum() / counts.sum())
    if prior is not None:
        centres, rows, weights = _with_outer(centres, rows, weights, prior, prior_weight)
    return Calibration(_monotone_knots(centres, rows, weights), mean)


def _blended(rows: FloatArray, counts: FloatArray, centres: FloatArray, prior: Calibration, own: float) -> FloatArray:
    """What bins say, [n, 3], averaged with the prior, which counts for ``own`` completions in each."""
    out = rows.copy()
    for column, values in enumerate((prior.expected(centres), prior.p50(centres), prior.p90(centres))):
        if values is not None:
            out[:, column] = (counts * rows[:, column] + own * values) / (counts + own)
    return out


def _monotone_knots(centres: FloatArray, rows: FloatArray, weights: FloatArray) -> tuple[Knot, ...]:
    """Knots at the centres, each of mean, median and 90th percentile ([n, 3]) made to rise with the score."""
    fitted = np.column_stack(
        [centred(centres, pool_adjacent_violators(rows[:, c], weights), weights) for c in range(3)]
    )
    return tuple(
        Knot(float(s), float(e), float(p50), float(max(p50, p90)))
        for s, (e, p50, p90) in zip(centres, fitted, strict=True)
    )


def _with_outer(
    centres: FloatArray, rows: FloatArray, weights: FloatArray, prior: Calibration, prior_weight: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Add what the prior says of scores beyond those that completed.

    While a burst drains shortest first, only the shortest have completed: without this all others would be tied.
    """
    outer = [k for k in prior.knots if not centres[0] <= k.score <= centres[-1]]
    if not outer or not prior_weight > 0:
        return centres, rows, weights
    # All of them together count for no more than the prior.
    weight = prior_weight / (len(rows) + len(outer))
    believed = np.array([[k.expected, k.p50, k.p90] for k in outer], dtype=np.float64)
    # Where the prior has no quantiles, those of the nearest completions hold; pooling makes what is out of order flat.
    nearest = np.where([k.score < centres[0] for k in outer], 0, len(rows) - 1)
    believed = np.where(np.isnan(believed), rows[nearest], believed)
    centres = np.concatenate((centres, [k.score for k in outer]))
    order = np.argsort(centres, kind="stable")
    rows, weights = np.vstack((rows, believed)), np.concatenate((weights, np.full(len(outer), weight)))
    return centres[order], rows[order], weights[order]


def pool_adjacent_violators(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Isotonic regression: the never decreasing sequence nearest to ``values`` in weighted squares.

    Args:
        values: [n].
        weights: above 0, [n].

    Returns:
        The fit, [n]; linear time.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, before_weight, before_length = blocks.pop()
            mean = (before * before_weight + mean * total) / (before_weight + total)
            total, length = total + before_weight, length + before_length
        blocks.append((mean, total, length))
    # Rounding may leave two blocks a hair out of order.
    fitted = np.repeat([b[0] for b in blocks], [b[2] for b in blocks])
    result: FloatArray = np.maximum.accumulate(fitted)
    return result


def centred(scores: FloatArray, values: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Centred isotonic regression (Oron and Flournoy 2017): let flat stretches rise, so that no two scores are tied.

    A pooled block holds at its middle; between middles the map is linear. Towards either end it goes on with the slope
    (of the logarithm) of the nearest two blocks, by a factor of 2 at most. One block, a ranker that tells nothing,
    stays flat.

    Args:
        scores: strictly increasing, [n].
        values: at least 0, never decreasing, [n].
        weights: what each counts for in the middle of its block, above 0, [n]; default: all the same.
    """
    weights = np.ones(len(values)) if weights is None else weights
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values) > 0)))
    if len(starts) in (1, len(values)):
        return values
    ends = np.append(starts[1:], len(values))
    # Shares first: scores may be as large as floats get.
    shares = [(slice(a, b), weights[a:b] / weights[a:b].sum()) for a, b in zip(starts, ends, strict=True)]
    middles = np.array([(scores[block] * share).sum() for block, share in shares])
    middles = np.maximum.accumulate(np.clip(middles, scores[starts], scores[ends - 1]))
    logs = np.log(np.maximum(values[starts], 1e-9))
    result = np.interp(scores, middles, values[starts])
    for inside, one, other in ((scores < middles[0], 0, 1), (scores > middles[-1], -1, -2)):
        gap = middles[other] / 2 - middles[one] / 2
        slope = (logs[other] - logs[one]) / gap if gap else 0.0
        steps = np.clip(slope * (scores[inside] / 2 - middles[one] / 2), -np.log(2), np.log(2))
        result[inside] = values[starts[one]] * np.exp(steps)
    rising: FloatArray = np.maximum.accumulate(result)
    return rising


def _bins(scores: FloatArray, most: int) -> list[tuple[int, int]]:
    """Ranges of about equal count over sorted scores, of at least 8 where possible, never splitting equal scores."""
    n = len(scores)
    if n == 0:
        return []
    count = max(1, min(most, n // 8))
    edges = np.linspace(0, n, count + 1).round().astype(int)
    inner = (
        np.unique(np.searchsorted(scores, scores[edges[1:-1]], side="left")) if count > 1 else np.array([], dtype=int)
    )
    cuts = [0, *[int(c) for c in inner if 0 < c < n], n]
    return list(pairwise(cuts))


def _centre(scores: FloatArray) -> float:
    """The mean of a bin's sorted scores, kept within them against rounding; the middle one where sums overflow.

    Within them, the centres of bins that share no score increase strictly.
    """
    if max(-scores[0], scores[-1]) > np.finfo(np.float64).max / len(scores):
        return float(scores[len(scores) // 2])
    return float(min(max(scores.mean(), scores[0]), scores[-1]))


def length_summary(tokens: FloatArray, complete: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Mean, median and 90th percentile of lengths by Kaplan and Meier, restricted to the longest length seen.

    Args:
        tokens: lengths, or lower bounds of them where not ``complete``, [n], n > 0.
        complete: [n].
    """
    if complete.all():
        return float(tokens.mean()), float(np.quantile(tokens, 0.5)), float(np.quantile(tokens, 0.9))
    times, index = np.unique(tokens, return_inverse=True)
    ended = np.bincount(index, weights=complete.astype(np.float64))
    leaving = np.bincount(index).astype(np.float64)
    at_risk = leaving[::-1].cumsum()[::-1]
    survival = np.cumprod(1.0 - ended / at_risk)
    widths = np.diff(np.concatenate(([0.0], times)))
    mean = float((np.concatenate(([1.0], survival[:-1])) * widths).sum())
    return mean, _quantile(times, survival, 0.5), _quantile(times, survival, 0.1)


def _quantile(times: FloatArray, survival: FloatArray, left: float) -> float:
    """The first length that at most a share ``left`` outlives; the longest seen where more do."""
    reached = np.flatnonzero(survival <= left)
    return float(times[reached[0]] if len(reached) else times[-1])
