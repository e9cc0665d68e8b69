"""The matrix of a regression over completions, never written out: products with it, and its scales."""

from __future__ import annotations

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
"""Dense features of a row count as no longer than this many times their usual length."""


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
        self.rows, self.weight, self.text = rows, weight.astype(np.float32), text
        self.total = float(weight.sum())
        self._dimensions = rows.dense.shape[1] if text else 0
        self.size = SMALL + self._dimensions + COLUMNS
        raw = np.column_stack([rows.score, rows.numbers])
        self.middle, self.spread = _middle_and_spread(raw, weight)
        self._small = np.clip((raw - self.middle) / self.spread, -_FAR, _FAR).astype(np.float32)
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
        back[own.stop :] = self._bucket_back(out)
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
            if not self.text:
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
        return self._small @ v[:SMALL] + self.rows.bags.times(v[SMALL + self._dimensions :])

    def _back(self, r: Singles) -> Singles:
        out = np.zeros(self.size, np.float32)
        out[:SMALL] = r @ self._small
        for piece in self._pieces():
            dense = self.rows.dense[piece].astype(np.float32)
            out[SMALL : SMALL + self._dimensions] += (r[piece] * self._factor[piece]) @ dense
        out[SMALL + self._dimensions :] = self._bucket_back(r)
        return out

    def _bucket_back(self, r: Singles) -> Singles:
        out = self.rows.bags.transposed_times(r)
        if not self.text:
            out[:BUCKETS] = 0.0
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
        # One row of huge numbers must not become the mean.
        self._factor = (rows.scale * _held(length, _LONG)).astype(np.float32)
        mean = self._back(self.weight)[own] / max(self.total, 1e-12)
        for piece in self._pieces():
            dense = rows.dense[piece].astype(np.float32) * self._factor[piece][:, None] - mean
            length[piece] = np.sqrt(np.einsum("ij,ij->i", dense, dense))
        some = length[rows.scale > 0]
        self.unit = max(float(np.median(some)), 1e-12) if len(some) else 1.0
        self._factor = (self._factor * _held(length, _LONG) / self.unit).astype(np.float32)

    def _precision(self, penalty: Penalty) -> Singles:
        counts = (1, NUMBERS, self._dimensions, BUCKETS, BUCKETS)
        values = (penalty.score, penalty.number, penalty.dense, penalty.word, penalty.shape)
        return np.repeat(values, counts).astype(np.float32)

    def _diagonal(self) -> Singles:
        out = np.empty(self.size, np.float32)
        out[:SMALL] = self.total
        out[SMALL : SMALL + self._dimensions] = self.total / max(self._dimensions, 1)
        bags = self.rows.bags
        squares = np.repeat(self.weight, bags.count) * bags.value**2
        out[SMALL + self._dimensions :] = np.bincount(bags.index, squares, COLUMNS)
        return out


def _middle_and_spread(raw: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted means and deviations of what lies within four usual deviations of the median."""
    middle = np.median(raw, axis=0)
    usual = 1.4826 * np.median(np.abs(raw - middle), axis=0)
    usual = np.where(usual > 0, usual, raw.std(axis=0) / 4.0)
    held = np.clip(raw, middle - _FAR * usual, middle + _FAR * usual)
    share = weight / max(float(weight.sum()), 1e-12)
    mean = share @ held
    spread = np.sqrt(share @ np.square(held - mean))
    return mean, np.where(spread > 1e-6, spread, 1.0)


def _held(length: Floats, most: float) -> Floats:
    """What to multiply rows with so that none is longer than ``most`` times the median."""
    some = length[length > 0]
    usual = float(np.median(some)) if len(some) else 1.0
    return np.minimum(1.0, most * usual / np.maximum(length, 1e-12))
