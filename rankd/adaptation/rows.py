"""The latest completions as features, in arrays: all that is kept of them, in memory only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import BUCKETS, MOST_SHAPE, MOST_WORDS, NUMBERS, Features

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COLUMNS = 2 * BUCKETS
"""Columns of buckets: words first, then a request's shape."""
_MOST_STRANGE = 32
"""Rows with another number of dense features than the first had, more than with that, until it is taken as theirs."""


@dataclass(frozen=True, slots=True)
class Bags:
    """Buckets of some rows as a sparse matrix, rows one after the other."""

    index: Ints
    """Column of each entry, below COLUMNS."""
    value: Singles
    """A word counts 1 / sqrt(words of its row), so that a long prompt has no more say than a short one; shapes 1."""
    count: Ints
    """Entries of each row, [n]."""

    def times(self, weights: Singles) -> Singles:
        """The product with weights of columns, [n]."""
        out = np.zeros(len(self.count), np.float32)
        some = self.count > 0
        if some.any():
            starts = (np.cumsum(self.count) - self.count)[some]
            out[some] = np.add.reduceat(weights[self.index] * self.value, starts)
        return out

    def shapes(self) -> Bags:
        """The buckets of shapes alone."""
        own = self.index >= BUCKETS
        row = np.repeat(np.arange(len(self.count)), self.count)[own]
        return Bags(self.index[own], self.value[own], np.bincount(row, minlength=len(self.count)))

    def transposed_times(self, rows: Singles) -> Singles:
        """The product of the transpose with a number per row, [COLUMNS]."""
        spread = np.repeat(rows, self.count) * self.value
        return np.bincount(self.index, spread, COLUMNS).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Columns:
    """Some completions, oldest first; every column is [n, ...]."""

    score: Floats
    numbers: Singles
    dense: NDArray[np.int8]
    scale: Singles
    bags: Bags
    tokens: Ints
    complete: Bools
    source: NDArray[np.uint64]
    at: Floats

    def __len__(self) -> int:
        """How many."""
        return len(self.score)


class CompletionRing:
    """A ring of the latest completions."""

    def __init__(self, most: int) -> None:
        """Keep no more than ``most``."""
        self.most = most
        self.taken = 0
        """How many were ever added."""
        self._size = self._next = 0
        self._score = np.zeros(most)
        self._numbers = np.zeros((most, NUMBERS), np.float32)
        self._dense = np.zeros((most, 0), np.int8)
        self._scale = np.zeros(most, np.float32)
        self._strange = 0
        """Rows with another number of dense features, less those with this one."""
        self._words = np.zeros((most, MOST_WORDS), np.uint16)
        self._word_count = np.zeros(most, np.uint8)
        self._shape = np.zeros((most, MOST_SHAPE), np.uint16)
        self._shape_count = np.zeros(most, np.uint8)
        self._tokens = np.zeros(most, np.int32)
        self._complete = np.zeros(most, np.bool_)
        self._source = np.zeros(most, np.uint64)
        self._at = np.zeros(most)

    def __len__(self) -> int:
        """How many are kept."""
        return self._size

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    def add(self, score: float, features: Features, tokens: int, complete: bool, source: int, at: float) -> None:
        """Add one; the oldest gives way."""
        place = self._next
        dimensions = len(features.dense)
        if dimensions:
            self._strange = max(0, self._strange + (-1 if dimensions == self._dense.shape[1] else 1))
        if dimensions and (not self._dense.shape[1] or self._strange > _MOST_STRANGE):
            self._dense = np.zeros((self.most, dimensions), np.int8)
            self._scale[:], self._strange = 0.0, 0
        self._score[place] = score
        self._numbers[place] = features.numbers
        if dimensions == self._dense.shape[1]:
            self._dense[place] = features.dense
            self._scale[place] = features.scale
        else:
            self._scale[place] = 0.0
        words, shapes = len(features.words), len(features.shape)
        self._words[place, :words] = features.words
        self._word_count[place] = words
        self._shape[place, :shapes] = features.shape
        self._shape_count[place] = shapes
        self._tokens[place] = min(tokens, 2**31 - 1)
        self._complete[place] = complete
        self._source[place] = source
        self._at[place] = at
        self.taken += 1
        self._size, self._next = min(self._size + 1, self.most), (place + 1) % self.most

    def forget(self, since: float) -> bool:
        """Keep nothing of before ``since``; whether there was any of it. It takes a millisecond or two where so."""
        places = self._places(self._size)
        kept = places[~(self._at[places] < since)]
        if len(kept) == len(places):
            return False
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array[: len(kept)] = array[kept]
                array[len(kept) :] = 0
        self._size, self._next = len(kept), len(kept) % self.most
        return True

    def latest(self, most: int, since: float = float("-inf")) -> Columns:
        """The last ``most``, oldest first, without those of before ``since``."""
        places = self._places(min(most, self._size))
        places = places[self._at[places] >= since]
        return Columns(
            self._score[places],
            self._numbers[places],
            self._dense[places],
            self._scale[places],
            self._bags(places),
            self._tokens[places].astype(np.int64),
            self._complete[places],
            self._source[places],
            self._at[places],
        )

    def _places(self, size: int) -> Ints:
        """Where the last ``size`` are, oldest first."""
        return np.arange(self._next - size, self._next) % self.most

    def _bags(self, places: Ints) -> Bags:
        words, shapes = self._word_count[places].astype(np.int64), self._shape_count[places].astype(np.int64)
        both = np.concatenate([self._words[places], self._shape[places]], axis=1)
        slots = np.arange(both.shape[1])
        used = np.where(slots < MOST_WORDS, slots < words[:, None], slots - MOST_WORDS < shapes[:, None])
        column, value = np.broadcast_to(slots >= MOST_WORDS, used.shape)[used], np.ones(int(used.sum()), np.float32)
        per_row = np.repeat((1.0 / np.sqrt(np.maximum(words, 1))).astype(np.float32), words + shapes)
        value[~column] = per_row[~column]
        return Bags(both[used].astype(np.int64) + column * BUCKETS, value, words + shapes)
