"""What was learned: weights of a linear head, in the terms of what a prediction carries."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import BUCKETS, MOST_DENSE, NUMBERS, Features, unpack
from rankd.adaptation.rows import Columns

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_TEXT_HEAD = struct.Struct("<BddddII")
_PIECE = 512
"""Rows that are made floats at once: it bounds memory, and how long the interpreter's lock is held."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear function of the ranker's score and a request's features: the expected logarithm of its length."""

    intercept: float
    slope: float
    """Of the ranker's score."""
    numbers: Singles
    """[NUMBERS]"""
    dense: Singles
    """Of the dequantised pooled features, [d]; empty where the head does not use them."""
    buckets: Singles
    """[COLUMNS], words first; empty where it uses none."""
    low: float = -math.inf
    """Below it predictions are drawn in, keeping their order, by at most 1: no length of what was learned from was
    near it."""
    high: float = math.inf
    """Above it likewise."""

    @classmethod
    def affine(cls, intercept: float, slope: float) -> Head:
        """A head that knows nothing but the score."""
        nothing = np.zeros(0, np.float32)
        return cls(intercept, slope, np.zeros(NUMBERS, np.float32), nothing, nothing)

    def bounded(self, low: float, high: float) -> Head:
        """The same, its predictions between these, and not more than 1 beside them."""
        return replace(self, low=low, high=high)

    def raised(self, step: float) -> Head:
        """The same, ``step`` higher."""
        return replace(self, intercept=self.intercept + step)

    def over(self, rows: Columns) -> Floats:
        """Predictions for rows, [n]."""
        out = self.intercept + self.slope * rows.score + rows.numbers @ self.numbers
        if len(self.buckets):
            out = out + rows.bags.times(self.buckets)
        if len(self.dense) and rows.dense.shape[1] == len(self.dense):
            out = out + dense_times(rows.dense, self.dense) * rows.scale
        inside = np.clip(out, self.low, self.high)
        beyond = out - inside
        return np.asarray(inside + beyond / (1.0 + np.abs(beyond)))

    def one(self, score: float, features: Features) -> float:
        """The prediction for one request."""
        out = self.intercept + self.slope * score
        for weight, number in zip(self.numbers.tolist(), features.numbers, strict=True):
            out += weight * number
        words, shape = features.words, features.shape
        if len(self.buckets):
            if count := len(words):
                out += float(np.add.reduce(self.buckets.take(words))) / math.sqrt(count)
            if len(shape):
                out += float(np.add.reduce(self.buckets.take(shape + np.int64(BUCKETS))))
        if len(features.dense) and len(features.dense) == len(self.dense):
            out += float(features.dense.astype(np.float32).dot(self.dense)) * features.scale
        if self.low <= out <= self.high:
            return out
        inside = self.low if out < self.low else self.high
        return inside + (out - inside) / (1.0 + abs(out - inside))

    def scores(self, base: Floats, features: Sequence[bytes]) -> Floats:
        """Predictions for requests as they travel, [n]; NaN where features cannot be."""
        found = []
        for score, data in zip(base.tolist(), features, strict=True):
            read = unpack(data)
            out = math.nan if read is None else self.one(score, read)
            found.append(out if math.isfinite(out) else math.nan)
        return np.array(found, np.float64)


@dataclass(frozen=True, slots=True)
class TextHead:
    """A head for prompts of which nothing but the text is known: all else is at its average."""

    intercept: float
    slope: float
    dense: Singles
    """Of the dequantised pooled features, [d]."""
    words: Singles
    """Of buckets, [BUCKETS]: their sum counts divided by the square root of how many a prompt has."""
    low: float = -math.inf
    """As ``Head.low``."""
    high: float = math.inf

    @classmethod
    def of(cls, head: Head, beside: float) -> TextHead:
        """Take a head; ``beside`` is what numbers and shapes add to it on average."""
        words = head.buckets[:BUCKETS] if len(head.buckets) else np.zeros(BUCKETS, np.float32)
        return cls(head.intercept + beside, head.slope, head.dense, words, head.low, head.high)

    def pack(self) -> bytes:
        """As bytes (docs/science/adaptation.md)."""
        numbers = self.intercept, self.slope, self.low, self.high
        start = _TEXT_HEAD.pack(2, *numbers, len(self.dense), len(self.words))
        return start + self.dense.astype("<f4").tobytes() + self.words.astype("<f4").tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> TextHead:
        """Undo ``pack``; raises ValueError where it cannot have given that."""
        if len(data) < _TEXT_HEAD.size:
            raise ValueError("a learned head is longer")
        layout, intercept, slope, low, high, dense, words = _TEXT_HEAD.unpack_from(data)
        if layout != 2 or dense > MOST_DENSE or words != BUCKETS:
            raise ValueError("a learned head of another layout")
        if len(data) != _TEXT_HEAD.size + 4 * (dense + words):
            raise ValueError("a learned head of another length")
        weights = np.frombuffer(data, "<f4", dense + words, _TEXT_HEAD.size).astype(np.float32)
        if not (np.isfinite(weights).all() and math.isfinite(intercept) and math.isfinite(slope)) or not low <= high:
            raise ValueError("a learned head is of finite numbers")
        return cls(intercept, slope, weights[:dense], weights[dense:], low, high)


def combined(heads: Sequence[Head], shares: Sequence[float]) -> Head:
    """The head that predicts the weighted mean of what heads predict."""
    # The number of dense features may have changed: those that learned last know it.
    dense, buckets = (
        next((n for h in reversed(heads) if (n := len(getattr(h, name)))), 0) for name in ("dense", "buckets")
    )
    total = [np.zeros(n, np.float32) for n in (NUMBERS, dense, buckets)]
    for head, share in zip(heads, shares, strict=True):
        for i, own in enumerate((head.numbers, head.dense, head.buckets)):
            if len(own) == len(total[i]):
                total[i] += np.float32(share) * own
    pairs = list(zip(heads, shares, strict=True))
    low, high = min(head.low for head in heads), max(head.high for head in heads)
    intercept, slope = sum(h.intercept * s for h, s in pairs), sum(h.slope * s for h, s in pairs)
    return Head(intercept, slope, total[0], total[1], total[2], low, high)


def dense_times(dense: NDArray[np.int8], weights: Singles) -> Singles:
    """Product of dense features with weights, [n], in pieces."""
    out = np.empty(len(dense), np.float32)
    for start in range(0, len(dense), _PIECE):
        piece = slice(start, start + _PIECE)
        out[piece] = dense[piece].astype(np.float32) @ weights
    return out
