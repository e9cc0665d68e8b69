"""The matrix of a regression over completions, never written out: products with it, and its scales."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import BUCKETS, NUMBERS
from rankd.adaptation.head import Head
from rankd.adaptation.rows import COLUMNS, Columns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SMALL = 1 + NUMBERS
"""Columns beside dense features and buckets: the score and the numbers."""
_PIECE = 512
_FAR = 4.0
"""A score or number counts as no further from the mean than this many standard deviations."""
_LONG = 2.0
"""Dense features of a row count as no longer than this many times their usual length; centred, twice that."""
_LEAST_UNIT = 0.25
"""The unit of centred dense features as a part of the usual length, at least: where most rows are the same, next to
nothing is left of them, and what is left of rounding must not count as a direction."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """Precision of what is expected of weights before anything is seen, where the noise has variance 1."""

    score: float = 0.05
    number: float = 4.0
    dense: float = 2.8
    word: float = 0.8
    shape: float = 4.0


class RidgeDesign:
    """Rows, weighted, centred and scaled; parameters are [score, numbers, dense, buckets]."""

    def __init__(self, rows: Columns, weight: Floats, *, text: bool, penalty: Penalty) -> None:
        """Take rows and their weights, [n]; without ``text`` only scores, numbers and shapes count."""
        self.rows, self.weight = rows, weight.astype(np.float32)
        self._bags = rows.bags if text else rows.bags.shapes()
        self._text = text
        self.total = float(weight.sum())
        self._dimensions = rows.dense.shape[1] if text else 0
        self.size = SMALL + self._dimensions + COLUMNS
        raw = np.column_stack([rows.score, rows.numbers])
        held, self.middle, self.spread = standardised(raw, weight)
        self._small = held.astype(np.float32)
        self.unit = 1.0
        self._factor = np.zeros(len(rows), np.float32)
        if self._dimensions:
            self._scale_dense()
        self.mean = self._back(self.weight) / max(self.total, 1e-12)
        self.precision = self._precision(penalty)
        self.preconditioner = 1.0 / (self.precision + self._diagonal())

    def transposed_times(self, r: Singles) -> Singles:
        """Product of the centred matrix's transpose with weighted numbers per row, [size]."""
        out = self._back(r)
        return np.asarray(out - self.mean * np.float32(r.sum()))

    def normal(self, v: Singles) -> Singles:
        """Product of the normal equations' matrix with parameters, in one pass over the dense features."""
        out = self._forward(v) - np.float32(self.mean @ v)
        back = np.zeros(self.size, np.float32)
        own = slice(SMALL, SMALL + self._dimensions)
        if self._dimensions:
            for piece in self._pieces():
                dense, factor = self.rows.dense[piece].astype(np.float32), self._factor[piece]
                out[piece] += (dense @ v[own]) * factor
                back[own] += (out[piece] * self.weight[piece] * factor) @ dense
        out *= self.weight
        back[:SMALL] = out @ self._small
        back[own.stop :] = self._bags.transposed_times(out)
        return np.asarray(back - self.mean * np.float32(out.sum()) + self.precision * v)

    def parameters(self, head: Head) -> Singles:
        """A head's weights as parameters of this matrix; its intercept is left out."""
        out = np.zeros(self.size, np.float32)
        out[0] = head.slope * self.spread[0]
        out[1:SMALL] = head.numbers * self.spread[1:]
        if self._dimensions and len(head.dense) == self._dimensions:
            out[SMALL : SMALL + self._dimensions] = head.dense * self.unit
        if len(head.buckets):
            out[SMALL + self._dimensions :] = head.buckets
            if not self._text:
                out[SMALL + self._dimensions :][:BUCKETS] = 0.0
        return out

    def head(self, v: Singles, level: float) -> Head:
        """Parameters as a head; ``level`` is what it predicts on average."""
        small = v[:SMALL].astype(np.float64) / self.spread
        intercept = level - float(self.mean @ v) - float(small @ self.middle)
        dense = (v[SMALL : SMALL + self._dimensions] / np.float32(self.unit)).astype(np.float32)
        return Head(
            intercept, float(small[0]), small[1:].astype(np.float32), dense, v[SMALL + self._dimensions :].copy()
        )

    def _forward(self, v: Singles) -> Singles:
        return self._small @ v[:SMALL] + self._bags.times(v[SMALL + self._dimensions :])

    def _back(self, r: Singles) -> Singles:
        out = np.zeros(self.size, np.float32)
        out[:SMALL] = r @ self._small
        for piece in self._pieces():
            dense = self.rows.dense[piece].astype(np.float32)
            out[SMALL : SMALL + self._dimensions] += (r[piece] * self._factor[piece]) @ dense
        out[SMALL + self._dimensions :] = self._bags.transposed_times(r)
        return out

    def _pieces(self) -> list[slice]:
        if not self._dimensions:
            return []
        return [slice(start, start + _PIECE) for start in range(0, len(self.rows), _PIECE)]

    def _scale_dense(self) -> None:
        """Scale so that rows are about of length 1, by the mean variance: directions keep their proportions."""
        own, rows = slice(SMALL, SMALL + self._dimensions), self.rows
        length = np.empty(len(rows))
        for piece in self._pieces():
            dense = rows.dense[piece].astype(np.float32)
            length[piece] = np.sqrt(np.einsum("ij,ij->i", dense, dense)) * rows.scale[piece]
        usual = _usual(length)
        # One row of huge numbers must not become the mean.
        self._factor = (rows.scale * _held(length, _LONG * usual)).astype(np.float32)
        mean = self._back(self.weight)[own] / max(self.total, 1e-12)
        for piece in self._pieces():
            dense = rows.dense[piece].astype(np.float32) * self._factor[piece][:, None] - mean
            length[piece] = np.sqrt(np.einsum("ij,ij->i", dense, dense))
        # The root of the mean square, not the median, which says nothing where most rows are the same.
        some = np.square(length[self._factor > 0])
        self.unit = max(math.sqrt(float(some.mean())) if len(some) else 0.0, _LEAST_UNIT * usual)
        self._factor = (self._factor * _held(length, 2.0 * _LONG * self.unit) / self.unit).astype(np.float32)

    def _precision(self, penalty: Penalty) -> Singles:
        counts = (1, NUMBERS, self._dimensions, BUCKETS, BUCKETS)
        values = (penalty.score, penalty.number, penalty.dense, penalty.word, penalty.shape)
        return np.repeat(values, counts).astype(np.float32)

    def _diagonal(self) -> Singles:
        out = np.empty(self.size, np.float32)
        out[:SMALL] = self.total
        out[SMALL : SMALL + self._dimensions] = self.total / max(self._dimensions, 1)
        bags = self._bags
        squares = np.repeat(self.weight, bags.count) * bags.value**2
        out[SMALL + self._dimensions :] = np.bincount(bags.index, squares, COLUMNS)
        return out


def standardised(raw: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Columns, weighted means and deviations, each of what lies within four usual deviations of the median."""
    middle = np.median(raw, axis=0)
    off = np.abs(raw - middle)
    # Where most are the same, the others say what is usual: what they are held to must not be nothing.
    usual = 1.4826 * np.array([_usual(column) for column in off.T])
    held = np.clip(raw, middle - _FAR * usual, middle + _FAR * usual)
    share = weight / max(float(weight.sum()), 1e-12)
    mean = share @ held
    spread = np.sqrt(share @ np.square(held - mean))
    spread = np.where(spread > 1e-6 * np.maximum(1.0, np.abs(mean)), spread, 1.0)
    far = _FAR * np.maximum(usual, spread)
    return np.clip(raw - mean, -far, far) / spread, mean, spread


def _usual(length: Floats) -> float:
    """The median of those that have a length."""
    some = length[length > 0]
    return float(np.median(some)) if len(some) else 1.0


def _held(length: Floats, most: float) -> Floats:
    """What to multiply rows with so that none is longer than ``most``."""
    return np.minimum(1.0, most / np.maximum(length, 1e-12))
