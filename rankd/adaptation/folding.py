"""What was learned, as it is folded into a ranker of its own: a head of the text alone, and how words are hashed.

Packed, version 1, little-endian: a byte 1; intercept and slope in double precision; the eight multipliers of the word
hash in 32 bits each; the numbers of dense weights and of word weights in 32 bits each; both in single precision.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import BUCKETS, MOST_DENSE

_VERSION = 1
_FIXED = struct.Struct("<Bdd8III")

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FoldedHead:
    """The expected logarithm of a length: intercept + slope * score + dense @ features + words."""

    intercept: float
    """With what a request's shape adds on average."""
    slope: float
    """Of the ranker's score."""
    multipliers: tuple[int, ...]
    """[8], as ``FeatureHasher.multipliers``: whoever has them can find out which bucket a word is in."""
    dense: Singles
    """Of the dequantised pooled features, [d]; empty where none count."""
    words: Singles
    """[BUCKETS]; empty where none count. Each word of a prompt weighs 1 / sqrt(words)."""

    def packed(self) -> bytes:
        """As bytes."""
        counts = len(self.dense), len(self.words)
        fixed = _FIXED.pack(_VERSION, self.intercept, self.slope, *self.multipliers, *counts)
        return fixed + self.dense.astype("<f4").tobytes() + self.words.astype("<f4").tobytes()


def unpack_head(data: bytes) -> FoldedHead | None:
    """From what ``packed`` gave; None where it is of another version, or cannot be."""
    if len(data) < _FIXED.size or data[0] != _VERSION:
        return None
    _, intercept, slope, *rest = _FIXED.unpack_from(data)
    dense, words = rest[8:]
    if dense > MOST_DENSE or words not in (0, BUCKETS) or len(data) != _FIXED.size + 4 * (dense + words):
        return None
    weights = np.frombuffer(data, "<f4", dense + words, _FIXED.size)
    if not np.isfinite((intercept, slope)).all() or not np.isfinite(weights).all():
        return None
    return FoldedHead(intercept, slope, tuple(rest[:8]), weights[:dense], weights[dense:])
