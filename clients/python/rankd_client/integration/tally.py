"""Counting what became of requests and reports, for whatever page of metrics an engine has."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from typing import Protocol

from rankd_client._forks import follow_forks


class Tally(Protocol):
    """Counts by outcome; safe across threads."""

    def inc(self, outcome: str, amount: int = 1) -> None:
        """Count an outcome."""


class LabelledCounter(Protocol):
    """A counter of prometheus_client with one label."""

    def labels(self, value: str, /) -> IncrementedCounter:
        """The series of a label's value."""


class IncrementedCounter(Protocol):
    """A series of it."""

    def inc(self, amount: float, /) -> None:
        """Add to it."""


class CounterTally:
    """A tally that is a counter of Prometheus', for an engine that has a page of metrics."""

    def __init__(self, counter: LabelledCounter) -> None:
        """Count by the counter's only label."""
        self._series = functools.cache(counter.labels)
        """By outcome: to look a series up costs more than to count."""

    def inc(self, outcome: str, amount: int = 1) -> None:
        """Count an outcome; an amount of 0 makes no series."""
        if amount:
            self._series(outcome).inc(amount)


class MemoryTally:
    """A tally in memory."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        follow_forks(self)

    def forked(self) -> None:
        """Whoever held the lock is not in this process."""
        self._lock = threading.Lock()

    def inc(self, outcome: str, amount: int = 1) -> None:
        """Count an outcome; an amount of 0 leaves no trace."""
        if amount:
            with self._lock:
                self._counts[outcome] += amount

    def counts(self) -> dict[str, int]:
        """A copy of what was counted, by outcome."""
        with self._lock:
            return dict(self._counts)
