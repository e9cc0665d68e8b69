"""Completions that a replica keeps for its peers to learn from: a bounded number, in memory only. No I/O, no clock."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import takewhile

from rankd.adaptation import LearnedCompletion

MOST_ROWS = 512
"""In one answer."""
MOST_TOLD = 2**20
"""Bytes of rows in one answer; of more than that at least one is told."""
_OTHER_BYTES = 128


@dataclass(frozen=True, slots=True)
class LearnedRow:
    """A completion, and which replica took it. It names no request."""

    model: str
    ranker_version: str
    completion: LearnedCompletion
    instance: str
    """The replica that took the report."""
    sequence: int
    """Its number among those that this one took, from 1."""

    @property
    def size(self) -> int:
        """Bytes of it in a message, at most."""
        names = 4 * (len(self.model) + len(self.ranker_version))
        return len(self.completion.features) + names + _OTHER_BYTES


@dataclass(frozen=True, slots=True)
class LearnedCursor:
    """A place in what a replica learned from, as its peers remember it."""

    instance: str
    """Whose."""
    sequence: int
    """The last one that was received; 0 for none yet."""


@dataclass(frozen=True, slots=True)
class LearnedAnswer:
    """What a replica tells."""

    rows: list[LearnedRow]
    until: LearnedCursor
    """Where they end."""
    more: bool
    """There are more after them already."""


class LearnedRows:
    """The last completions that were learned from here: own ones, for every round, and all, for who just started."""

    def __init__(self, instance: str, most: int, forget_after: float) -> None:
        """Start empty.

        Args:
            instance: this replica.
            most: rows that are kept, own and heard ones together.
            forget_after: seconds after which a completion is told no more.
        """
        self._instance = instance
        self._most = most
        self._forget_after = forget_after
        self._all: deque[tuple[int, LearnedRow]] = deque()
        """With their places."""
        self._own: deque[tuple[int, LearnedRow]] = deque()
        """Those of ``_all`` that were reported here, with their numbers."""
        self._place = self._sequence = 0
        self._oldest = math.inf
        """No completion is of before that."""

    def __len__(self) -> int:
        return len(self._all)

    def add_own(self, model: str, ranker_version: str, completion: LearnedCompletion) -> None:
        """Keep a completion that was reported here."""
        self._sequence += 1
        row = LearnedRow(model, ranker_version, completion, self._instance, self._sequence)
        self._own.append((self._sequence, row))
        self.add_heard(row)

    def add_heard(self, row: LearnedRow) -> None:
        """Keep one that a peer told."""
        self._place += 1
        self._oldest = min(self._oldest, row.completion.at)
        self._all.append((self._place, row))
        while len(self._all) > self._most:
            self._drop_oldest()

    def own_after(self, cursor: LearnedCursor, now: float) -> LearnedAnswer:
        """Own completions after a cursor, the oldest first."""
        self.forget_old(now)
        return self._after(self._own, self._sequence, cursor)

    def all_after(self, cursor: LearnedCursor, now: float) -> LearnedAnswer:
        """All completions after a place in them, the oldest first."""
        self.forget_old(now)
        return self._after(self._all, self._place, cursor)

    def forget(self, model: str, ranker_version: str) -> None:
        """Keep nothing of one served model and ranker version."""
        self._all, self._own = (
            deque(entry for entry in rows if (entry[1].model, entry[1].ranker_version) != (model, ranker_version))
            for rows in (self._all, self._own)
        )

    def forget_old(self, now: float) -> None:
        """Keep none that is too old; what peers told need not come in order."""
        since = now - self._forget_after
        if self._oldest >= since:
            return
        self._all, self._own = (
            deque(entry for entry in rows if entry[1].completion.at >= since) for rows in (self._all, self._own)
        )
        self._oldest = min((row.completion.at for _, row in self._all), default=math.inf)

    def _drop_oldest(self) -> None:
        _, row = self._all.popleft()
        if row.instance == self._instance:
            self._own.popleft()

    def _after(self, rows: deque[tuple[int, LearnedRow]], last: int, cursor: LearnedCursor) -> LearnedAnswer:
        seen = min(cursor.sequence, last) if cursor.instance == self._instance else 0
        # From the newest back: who asks at every round is told few.
        found = list(takewhile(lambda entry: entry[0] > seen, reversed(rows)))[::-1]
        told: list[LearnedRow] = []
        size = told_until = 0
        for place, row in found:
            size += row.size
            if told and (len(told) == MOST_ROWS or size > MOST_TOLD):
                return LearnedAnswer(told, LearnedCursor(self._instance, told_until), more=True)
            told.append(row)
            told_until = place
        return LearnedAnswer(told, LearnedCursor(self._instance, last), more=False)
