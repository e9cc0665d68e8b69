"""What was learned, as it is folded into a ranker of its own: a head of the text alone, and how words are hashed.

Packed, little-endian: the eight multipliers of the word hash in 32 bits each, then what ``TextHead.pack`` gives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rankd.adaptation.hashing import FeatureHasher
from rankd.adaptation.head import TextHead

_MULTIPLIERS = struct.Struct("<8I")


@dataclass(frozen=True, slots=True)
class FoldedHead:
    """All that a graph has to know to compute learned scores from token ids and pooled features."""

    head: TextHead
    multipliers: tuple[int, ...]
    """[8], as ``FeatureHasher.multipliers``: whoever has them can find out which bucket a word is in."""

    @classmethod
    def of(cls, head: TextHead, hasher: FeatureHasher) -> FoldedHead:
        """Take a head, and what made the features that it was learned from."""
        return cls(head, tuple(hasher.multipliers))

    def pack(self) -> bytes:
        """As bytes."""
        return _MULTIPLIERS.pack(*self.multipliers) + self.head.pack()

    @classmethod
    def unpack(cls, data: bytes) -> FoldedHead:
        """Undo ``pack``; raises ValueError where it cannot have given that."""
        if len(data) < _MULTIPLIERS.size:
            raise ValueError("a folded head is longer")
        return cls(TextHead.unpack(data[_MULTIPLIERS.size :]), _MULTIPLIERS.unpack_from(data))
