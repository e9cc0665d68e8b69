"""The last complete requests in two columns of scores, of which one is in use: the plain window and pair counters.

Each column has requests of its own, those that have a score of it: what is taken of a column is what it would be if
there had never been the other one. Sums over pairs are kept of the column in use alone; they are what costs time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.pair_counters import Comparer
from rankd.quality.statistics.rolling_pairs import PairWindow

_Rows = tuple[NDArray[np.float64], NDArray[np.int64]]
_COLUMNS = ("score", "tokens")


class _Ring:
    """The last scores and lengths of the column that is not in use."""

    def __init__(self, capacity: int) -> None:
        self._score = np.zeros(capacity)
        self._tokens = np.zeros(capacity, dtype=np.int64)
        self._taken = 0

    def add(self, score: float, tokens: int) -> None:
        slot = self._taken % len(self._score)
        self._score[slot], self._tokens[slot] = score, tokens
        self._taken += 1

    def recent(self) -> _Rows:
        """Copies, the oldest first."""
        size = min(self._taken, len(self._score))
        order = np.arange(self._taken - size, self._taken) % len(self._score)
        return self._score[order], self._tokens[order]

    def clear(self) -> None:
        """Hold nothing."""
        self._taken = 0

    def refill(self, score: NDArray[np.float64], tokens: NDArray[np.int64]) -> None:
        """Hold the latest of these, the oldest first, and nothing else."""
        self._taken = size = min(len(score), len(self._score))
        self._score[:size], self._tokens[:size] = score[len(score) - size :], tokens[len(tokens) - size :]


class CompleteRequests:
    """Complete requests of one tracker."""

    def __init__(self, window: int, pair_window: int) -> None:
        """Start empty, with the ranker's own scores in use.

        Args:
            window: requests in the plain window, of each column.
            pair_window: requests that each one is compared with by the pair counters.
        """
        self.plain = PairWindow(window)
        """The plain window of the column in use."""
        self.compared = Comparer(pair_window)
        """Pair counters: what Prometheus adds up over replicas. Each pair is of one column."""
        self.learned_in_use = False
        self._window_aside = _Ring(window)
        self._compared_aside = _Ring(pair_window)

    def add(self, score: float, learned: float, tokens: int) -> None:
        """Take the next complete request; a learned score that it does not have is NaN."""
        used, aside = (learned, score) if self.learned_in_use else (score, learned)
        if not math.isnan(used):
            self.plain.add(used, tokens)
            self.compared.add(used, tokens)
        if not math.isnan(aside):
            self._window_aside.add(aside, tokens)
            self._compared_aside.add(aside, tokens)

    def use_learned(self, learned: bool) -> None:
        """Use the other column where ``learned`` says so: some milliseconds at the default size."""
        if learned is self.learned_in_use:
            return
        self.learned_in_use = learned
        plain, compared = self._window_aside.recent(), self._compared_aside.recent()
        self._window_aside.refill(*self.plain.recent())
        self._compared_aside.refill(*self.compared.recent())
        self.plain.refill(*plain)
        self.compared.compare_with(*compared)

    def forget_learned(self) -> None:
        """Forget the requests of the learned column, which must not be in use."""
        assert not self.learned_in_use
        self._window_aside.clear()
        self._compared_aside.clear()

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def contents(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Copies of both columns' requests."""
        used = self.plain.recent(), self.compared.recent()
        aside = self._window_aside.recent(), self._compared_aside.recent()
        (plain, compared), (learned_plain, learned_compared) = (aside, used) if self.learned_in_use else (used, aside)
        return {
            "plain": dict(zip(_COLUMNS, plain, strict=True)),
            "compared": dict(zip(_COLUMNS, compared, strict=True)),
            "learned_plain": dict(zip(_COLUMNS, learned_plain, strict=True)),
            "learned_compared": dict(zip(_COLUMNS, learned_compared, strict=True)),
        }

    def refill(self, contents: dict[str, dict[str, NDArray[Any]]]) -> None:
        """Hold what ``contents`` gave, with the ranker's own scores in use, and count no pair of it.

        Raises:
            KeyError: something is missing.
        """
        self.learned_in_use = False
        self.plain.refill(**contents["plain"])
        self.compared.compare_with(**contents["compared"])
        self._window_aside.refill(**contents["learned_plain"])
        self._compared_aside.refill(**contents["learned_compared"])
