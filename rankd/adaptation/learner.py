"""What is learned from completions, and when: all of it in the worker thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.completion import LearnedCompletion
from rankd.adaptation.experts import MEMORY, Expert, Shares
from rankd.adaptation.features import BUCKETS, unpack
from rankd.adaptation.head import Head, combined
from rankd.adaptation.rows import Columns, CompletionRing
from rankd.adaptation.solver import affine, log_length, ridge, targets
from rankd.adaptation.witness import Witness

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Trusted = Callable[[NDArray[np.uint64]], Floats]
"""Weights of rows by their sources, [n] of [n]."""
LEAST_ROWS = 32
"""Completions below which nothing is learned."""
_TEXT = (Expert.LONG, Expert.MIDDLE, Expert.SHORT)
_SCORE_ROWS = 1024
"""Latest completions that the experts without text learn from: they have little to learn."""
_MOST_SCORE = 1e6
"""A score further from zero is not learned from; NaN is not either."""
_LEVEL_HALF_LIFE = 2048.0
"""Completions after which half of a difference in level is left; fewer at first, when the level is not known well."""
_ITERATIONS = 4
"""Passes of a search that starts where the last one ended; more bring nothing (docs/science/adaptation.md)."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known after some work; immutable."""

    heads: tuple[Head, ...]
    """One per expert; empty where nothing is known."""
    shares: Shares
    head: Head | None
    """All of them by their shares."""
    completions: int
    """Learned from, as far as they are not forgotten."""
    beside: float
    """What numbers and shapes add to the combined head on average."""

    @classmethod
    def nothing(cls) -> Learned:
        """Nothing is known."""
        return cls((), Shares.start(), None, 0, 0.0)


class HeadLearner:
    """Rows and what was learned from them; one thread at a time."""

    def __init__(self, most: int, forget_after: float, known: Learned | None = None) -> None:
        """Start with what is known from before, if anything.

        Args:
            most: completions that are kept.
            forget_after: seconds after which one is not learned from.
            known: weights that were learned before a restart.
        """
        self.rows = CompletionRing(most)
        self._forget_after = forget_after
        self.learned = known or Learned.nothing()
        self._prior, self._known = self.learned.heads, self.learned.completions
        self._solved = dict.fromkeys(_TEXT, 0)
        self.witness = Witness()
        self.doubted: frozenset[int] = frozenset()
        """Sources that the others contradict; they are for ``trust`` to leave out."""

    def doubt(self, sources: frozenset[int]) -> None:
        """Know whom the others contradict; what was learned of one more of them is unlearned as soon as can be."""
        if sources - self.doubted:
            self._solved = dict.fromkeys(_TEXT, 0)
        self.doubted = sources

    def learn(
        self,
        completions: Sequence[LearnedCompletion],
        now: float,
        trust: Trusted | None = None,
    ) -> Learned:
        """Compare what was predicted of completions with what came, then learn from them.

        Args:
            completions: new ones.
            now: by the clock that dated them.
            trust: weights of rows by their sources, [n] of [n]; None: all count alike.
        """
        since = now - self._forget_after
        self.rows.forget(since)
        known = self.learned
        completions = [one for one in completions if not one.at < since]
        taken, fresh = self._add(completions, known.head is not None)
        shares = known.shares
        if known.heads and fresh.any():
            shares = _judged(known, shares, self.rows.latest(taken), fresh, trust)
        heads = known.heads
        if len(self.rows) >= LEAST_ROWS and any(map(self._due, _TEXT)):
            heads = self._solve(heads, trust)
        head = combined(heads, shares.values.tolist()) if heads else None
        if head is not None and known.head is not None:
            head = head.raised(_step(known.head, head, self.rows.latest(LEAST_ROWS)) * self._level_kept(taken))
        beside = known.beside if heads is known.heads else _beside(heads, shares, self.rows.latest(_SCORE_ROWS))
        self.learned = Learned(heads, shares, head, self._completions, beside)
        return self.learned

    def forget(self, now: float) -> Learned:
        """Keep no completion that is too old; what was learned from it stays until the next solve."""
        if self.rows.forget(now - self._forget_after):
            self.learned = replace(self.learned, completions=self._completions)
        return self.learned

    @property
    def _completions(self) -> int:
        """Learned from, as far as they are kept, or were so before a restart."""
        return len(self.rows) + (round(self._known * self._left) if self._prior else 0)

    def _level_kept(self, taken: int) -> float:
        half_life = min(_LEVEL_HALF_LIFE, max(LEAST_ROWS, self.rows.taken / 2))
        return float(0.5 ** (taken / half_life))

    @property
    def nbytes(self) -> int:
        """Memory of rows and weights."""
        heads = (*self.learned.heads, *self._prior, *([self.learned.head] if self.learned.head else []))
        weights = {id(part): part.nbytes for head in heads for part in (head.numbers, head.dense, head.buckets)}
        return self.rows.nbytes + sum(weights.values())

    @property
    def _left(self) -> float:
        """How much of what was known before a restart new rows have not taken the place of."""
        return max(0.0, 1.0 - self.rows.taken / self.rows.most)

    def _add(self, completions: Sequence[LearnedCompletion], known: bool) -> tuple[int, Bools]:
        """How many were taken, and which of those nothing may have learned from yet.

        A head that was taken over may have learned what a peer tells of before; such a row comes without a prediction.
        """
        fresh = []
        for one in completions:
            features = unpack(one.features)
            if features is None or not abs(one.score) <= _MOST_SCORE or one.tokens < 0:
                continue
            self.rows.add(one.score, features, one.tokens, one.complete, one.source, one.at)
            fresh.append(not known or math.isfinite(one.learned))
        fresh = fresh[-self.rows.most :]
        return len(fresh), np.array(fresh, np.bool_)

    def _reach(self, expert: Expert) -> int:
        """How many of the rows an expert learns from: beyond four half-lives there is nothing to learn."""
        return min(len(self.rows), 4 * MEMORY.get(expert, self.rows.most))

    def _due(self, expert: Expert) -> bool:
        """Whether there is an eighth more than when it last learned; of all rows a sixth, as that takes longest."""
        part = 6 if expert is Expert.LONG else 8
        return self.rows.taken - self._solved[expert] >= max(LEAST_ROWS, self._reach(expert) // part)

    def _solve(self, heads: tuple[Head, ...], trust: Trusted | None) -> tuple[Head, ...]:
        rows, weight = self._trusted(_SCORE_ROWS, trust)
        if np.count_nonzero(weight) < LEAST_ROWS:
            return heads
        score = affine(rows, weight, heads[Expert.SCORE] if heads else None)
        found = list(heads) if heads else [score] * len(Expert)
        found[Expert.SCORE] = score
        found[Expert.SHAPE] = ridge(rows, weight, found[Expert.SHAPE], text=False, iterations=_ITERATIONS)
        for expert in self._next():
            rows, weight = self._trusted(self._reach(expert), trust)
            if np.count_nonzero(weight) < LEAST_ROWS:
                continue
            if (half_life := MEMORY.get(expert)) is not None:
                weight = weight * 0.5 ** (np.arange(len(rows) - 1, -1, -1) / half_life)
            found[expert] = ridge(rows, weight, found[expert], prior=self._before(expert), iterations=_ITERATIONS)
            self._solved[expert] = self.rows.taken
        return tuple(found)

    def _next(self) -> list[Expert]:
        """Experts that learn now: of those of many rows one at a time, the one that waited longest."""
        due = [expert for expert in _TEXT if self._due(expert)]
        large = [expert for expert in due if self._reach(expert) > _SCORE_ROWS]
        longest = min(large, key=self._solved.__getitem__, default=None)
        return [expert for expert in due if expert is longest or expert not in large]

    def _trusted(self, most: int, trust: Trusted | None) -> tuple[Columns, Floats]:
        rows = self.rows.latest(most)
        return rows, np.ones(len(rows)) if trust is None else trust(rows.source)

    def _before(self, expert: Expert) -> Head | None:
        if self._left <= 0:
            self._prior = ()
        return combined([self._prior[expert]], [self._left]) if self._prior else None


def _step(before: Head, after: Head, rows: Columns) -> float:
    """What the level of a new head is changed by, so that scores of before and after compare in a queue."""
    return float((before.over(rows) - after.over(rows)).mean()) if len(rows) else 0.0


def _beside(heads: tuple[Head, ...], shares: Shares, rows: Columns) -> float:
    head = combined(heads, shares.values.tolist())
    bags = rows.bags
    shape = float((head.buckets[bags.index] * (bags.index >= BUCKETS)).sum()) if len(head.buckets) else 0.0
    return float((rows.numbers @ head.numbers).mean()) + shape / len(rows)


def _judged(known: Learned, shares: Shares, rows: Columns, fresh: Bools, trust: Trusted | None) -> Shares:
    used = fresh if trust is None else fresh & (trust(rows.source) > 0)
    predicted = np.column_stack([head.over(rows) for head in known.heads])
    mixed = predicted @ shares.values
    return shares.after(predicted[used], targets(mixed, log_length(rows.tokens), rows.complete)[used])
