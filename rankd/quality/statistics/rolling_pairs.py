"""The plain window: sums over all pairs of the last complete requests, kept as requests come and go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics import interval, kendall
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.pair_sums import pair_sums

Ints = NDArray[np.int64]
Counts = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairSums:
    """A copy of a window: its requests and, for each of them, sums over its pairs."""

    score: Floats
    tokens: Ints
    agreement: Counts
    """Sum of sgn(score difference) * sgn(length difference)."""
    score_untied: Counts
    length_untied: Counts
    gain: Ints
    """Sum of sgn(score difference) * length difference."""
    spread: Ints
    """Sum of |length difference|."""

    def tau_b(self, z: float) -> Interval | None:
        """Kendall's tau-b with its interval; None where undefined or too small."""
        return interval.tau_interval(
            self.agreement.astype(float), self.score_untied.astype(float), self.length_untied.astype(float), z
        )

    def realised_gain(self, z: float) -> Interval | None:
        """The normalised Gini coefficient with its interval; None where all lengths are equal."""
        if len(self.score) == 0:
            return None
        return interval.ratio_interval(self.gain.astype(float), self.spread.astype(float), z)

    def head_and_tail(self) -> tuple[float | None, float | None]:
        """Tau-b among the requests up to, and above, the median length: O(n log n)."""
        if len(self.score) == 0:
            return None, None
        head = self.tokens <= np.median(self.tokens)
        lengths = self.tokens.astype(float)
        return kendall.tau_b(self.score[head], lengths[head]), kendall.tau_b(self.score[~head], lengths[~head])


class PairWindow:
    """A ring of the last ``capacity`` complete requests with exact per-item pair sums.

    All sums are integers, so nothing drifts however many requests have passed through. Successive
    windows overlap: after k completions two windows of W share W - k requests, and their tau-b are
    correlated by about 1 - k/W; only readings W completions apart are independent.
    """

    def __init__(self, capacity: int) -> None:
        """Reserve room for ``capacity`` requests."""
        self._capacity = capacity
        self._size = 0
        self._head = 0
        self._score = np.zeros(capacity, dtype=np.float64)
        self._tokens = np.zeros(capacity, dtype=np.int64)
        self._pairs = np.zeros((3, capacity), dtype=np.int32)
        self._lengths = np.zeros((2, capacity), dtype=np.int64)

    def __len__(self) -> int:
        return self._size

    def add(self, score: float, tokens: int) -> None:
        """Take one complete request in, and the oldest out where the window is full."""
        slot = self._head
        if self._size == self._capacity:
            self._count(slot, -1)
        else:
            self._size += 1
        self._score[slot] = score
        self._tokens[slot] = tokens
        self._pairs[:, slot] = 0
        self._lengths[:, slot] = 0
        self._count(slot, 1)
        self._head = (slot + 1) % self._capacity

    def _count(self, slot: int, direction: int) -> None:
        """Add (1) or remove (-1) the pairs of ``slot`` with everyone; with itself it is tied, which counts nothing."""
        size = self._size
        score, tokens = self._score[:size], self._tokens[:size]
        step = tokens - tokens[slot]
        # Booleans seen as bytes: subtracting two of them is a sign, several times faster than np.sign.
        above, below = score > score[slot], score < score[slot]
        longer, shorter = step > 0, step < 0
        score_untied, length_untied = above | below, longer | shorter
        score_sign = above.view(np.int8) - below.view(np.int8)
        agreement = score_sign * (longer.view(np.int8) - shorter.view(np.int8))
        gain, spread = score_sign * step, np.abs(step)
        add = np.add if direction > 0 else np.subtract
        pairs, lengths = self._pairs[:, :size], self._lengths[:, :size]
        add(pairs[0], agreement, out=pairs[0])
        add(pairs[1], score_untied.view(np.int8), out=pairs[1])
        add(pairs[2], length_untied.view(np.int8), out=pairs[2])
        add(lengths[0], gain, out=lengths[0])
        add(lengths[1], spread, out=lengths[1])
        if direction > 0:
            self._pairs[:, slot] = agreement.sum(), np.count_nonzero(score_untied), np.count_nonzero(length_untied)
            self._lengths[:, slot] = gain.sum(), spread.sum()

    def recent(self) -> tuple[Floats, Ints]:
        """Copies of scores and lengths, the oldest first."""
        order = np.arange(self._head - self._size, self._head) % self._capacity
        return self._score[order], self._tokens[order]

    def refill(self, score: Floats, tokens: Ints) -> None:
        """Hold the latest of these, the oldest first, and nothing else: O(n log n), exactly as if added one by one."""
        score, tokens = score[-self._capacity :], tokens[-self._capacity :]
        size = len(score)
        self._size, self._head = size, size % self._capacity
        self._score[:size], self._tokens[:size] = score, tokens
        if size:
            whole = pair_sums([score], tokens, np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.int64))
            self._pairs[:, :size] = whole.agree[0], whole.score_untied[0], whole.length_untied
            self._lengths[:, :size] = whole.gain[0], whole.spread

    def sums(self) -> PairSums:
        """Copy the window, for reading elsewhere while this one goes on."""
        size = self._size
        pairs, lengths = self._pairs[:, :size].copy(), self._lengths[:, :size].copy()
        return PairSums(self._score[:size].copy(), self._tokens[:size].copy(), *pairs, *lengths)
