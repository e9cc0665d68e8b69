"""Completions whose saved seconds are asked for, and which of them can be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.savings.surroundings import Surroundings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SHORT_WAIT = 0.02
"""A wait below this share of the median run is the engine's next iteration, and no queue."""
_LONGEST_RUN = 0.995
"""Quantile of run times, after which next to all that ran has ended and was reported."""
_RECENT_STARTS = 0.1
"""Share of the last starts that tell how old those were that still waited."""
_SAME_TIME = 0.01
"""Arrivals no further apart than this share of the mean latency, or ``_SAME_SECONDS``, came in any order."""
_SAME_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class SavingsSample:
    """Completions by arrival, [n]: times in seconds by one clock, lengths in tokens; of prompts what was read."""

    arrival: Floats
    start: Floats
    end: Floats
    output: Floats
    prompt: Floats
    complete_since: float = -math.inf
    """All that ended after this is among them."""

    @classmethod
    def of(cls, rows: Floats, complete_since: float = -math.inf) -> SavingsSample:
        """Out of rows of arrival, wait, run, output and prompt tokens (NaN: not known), [n, 5]; of equal ones any."""
        mixed = np.random.default_rng(0).permutation(len(rows))
        rows = rows[mixed[np.argsort(rows[mixed, 0], kind="stable")]]
        arrival, waited, ran, output, prompt = (rows[:, i].copy() for i in range(5))
        known = prompt[~np.isnan(prompt)]
        typical = float(known.mean()) if len(known) else 0.0
        return cls(
            arrival=arrival,
            start=arrival + waited,
            end=arrival + waited + ran,
            output=np.maximum(np.nan_to_num(output, nan=1.0), 1.0),
            prompt=np.where(np.isnan(prompt), typical, prompt),
            complete_since=complete_since,
        )

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def short_wait(self) -> float:
        """Seconds that are no wait."""
        return _SHORT_WAIT * float(np.median(self.end - self.start))

    @property
    def queued(self) -> Floats:
        """What each waited beyond that, [n]."""
        return np.maximum(self.start - self.arrival - self.short_wait, 0.0)

    def in_arrival_order(self, since: float) -> bool:
        """Whether those that started after a time did so in the order in which they came.

        Times are reported with an error of their own: two that came, or started, at the same moment are in no order.
        """
        later = np.flatnonzero(self.start >= since)
        order = later[np.argsort(self.start[later], kind="stable")]
        start, arrival = self.start[order], self.arrival[order]
        same = max(_SAME_SECONDS, _SAME_TIME * float((self.end - self.arrival).mean()))
        before = np.searchsorted(start, start - same)
        latest = np.maximum.accumulate(np.append(-math.inf, arrival))[before]
        return not bool((latest > arrival + same).any())


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when arrivals are compared: all of these are known to have ended."""

    since: float
    """The replay begins here, at best at a moment when nobody waited."""
    until: float
    begun: bool
    """Nobody waited when it began."""
    closed: bool
    """Nobody waited then: it is sure that all have ended."""


def stretch_of(sample: SavingsSample, around: Surroundings | None, now: float, *, bounded: bool) -> Stretch:
    """What of a sample can be compared.

    Whoever still waits or runs is not in the sample, and those are rather the long ones. At a moment at which nobody
    waits and there is room, all orders have served the same requests but for those that run. So the stretch begins and
    ends at such moments: the earliest after which the sample is complete, and the latest that is so long ago that who
    ran then has ended. Under a queue that never ends it begins where the sample does, and ends with the arrivals that
    were as old as the oldest that started of late; not so where an order lets the longest wait for ever.

    Args:
        sample: completions.
        around: their engine; None where nobody waited.
        now: by their clock.
        bounded: whether patience bounds how long a request waits for others.
    """
    long_ago = now - float(np.quantile(sample.end - sample.start, _LONGEST_RUN))
    since = sample.complete_since
    if around is None:
        return Stretch(since, long_ago, begun=True, closed=True)
    begins, ends = around.pauses()
    begun = since == -math.inf
    if not begun:
        late = np.maximum(begins, since)[ends > since]
        if len(late) and late[0] <= float(np.median(sample.arrival)):
            since, begun = float(late[0]), True
    before = begins < long_ago
    until = float(min(ends[before][-1], long_ago)) if before.any() else -math.inf
    compared = (sample.arrival >= since) & (sample.arrival <= until)
    oldest = _oldest_started(sample, long_ago)
    if bounded and compared.sum() < len(sample) / 2 and oldest > until:
        return Stretch(since, oldest, begun, closed=False)
    return Stretch(since, until, begun, closed=True)


def _oldest_started(sample: SavingsSample, before: float) -> float:
    """When the oldest came that started last before a time: who came earlier has started, by all that is seen."""
    order = np.argsort(sample.start, kind="stable")
    order = order[sample.start[order] <= before]
    if not len(order):
        return -math.inf
    last = order[-max(1, int(_RECENT_STARTS * len(order))) :]
    return float(sample.arrival[last].min())
