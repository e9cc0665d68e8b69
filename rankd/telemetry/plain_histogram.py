"""Histograms as plain numbers, read when metrics are collected: OpenTelemetry's own take longer for each value."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

LabelItems = tuple[tuple[str, str], ...]
"""Names and values of labels."""


@dataclass(slots=True)
class BucketCounts:
    """The values of one set of labels."""

    buckets: list[int]
    """How many are at most each boundary and above the one before; the last: above all."""
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    count: int = field(default=0)

    def since(self, before: BucketCounts) -> BucketCounts:
        """What came after an earlier reading; its least and its most are those of all that came, as of this one."""
        buckets = [now - then for now, then in zip(self.buckets, before.buckets, strict=True)]
        return replace(self, buckets=buckets, total=self.total - before.total, count=self.count - before.count)


class PlainHistogram:
    """One histogram; any thread may record and read."""

    def __init__(self, boundaries: Sequence[float]) -> None:
        """Take the upper bounds of its buckets, rising."""
        self.boundaries = tuple(boundaries)
        self._tallies: dict[LabelItems, BucketCounts] = {}
        self._lock = threading.Lock()

    def record(self, value: float, labels: LabelItems = ()) -> None:
        """Take a value."""
        place = bisect_left(self.boundaries, value)
        with self._lock:
            tally = self._tallies.get(labels)
            if tally is None:
                tally = self._tallies[labels] = BucketCounts([0] * (len(self.boundaries) + 1))
            tally.buckets[place] += 1
            tally.count += 1
            tally.total += value
            tally.least = min(tally.least, value)
            tally.most = max(tally.most, value)

    def tallies(self) -> list[tuple[LabelItems, BucketCounts]]:
        """All values so far, by labels."""
        with self._lock:
            return [(labels, replace(tally, buckets=tally.buckets.copy())) for labels, tally in self._tallies.items()]
