"""What was predicted and what came, and which of it can be compared.

Requests that end one after the other were chosen to be served one after the other, by the very score that orders: over
any run of completions that score hardly varies, and by its tau it looks useless, while the other one does not. So rows
are compared in the order in which requests *arrived*, and only those that arrived so long ago that their fellows have
all but ended, short or long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import PairedSample, compare

Ints = NDArray[np.int64]

SIZE = 1024
"""Completions that are compared: it takes some 30 ms where lengths are censored, and a few where not."""
RECENT = 144
"""Completions that a step back is decided on: two looks fit into 200 completions after a change."""
SAME_TIME = 0.1
"""Seconds within which arrivals have no order: clocks differ, and what came at once is not to lie in serving order."""
SETTLE = 0.9
"""Share of the latest completions that may say how long the fellows of a request take to end."""
LATEST = 64
"""Those are so many."""
_SLACK = 1.25
_LATEST_OF_OTHERS = 256
_LEAST_OTHERS = 50
_LONG = 256
"""Completions by which anybody may be overtaken without it being anybody's doing."""
_LEVERAGE = 16.0
"""How many times further one source may put off what is compared than the others do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What evidence says. Intervals are of 95 % for a single look."""

    seen: int
    """Completions that had been added when the evidence was taken."""
    compared: int
    base: Interval | None
    learned: Interval | None
    difference: Interval | None
    """Learned less base, of all that count; None where undefined."""
    recent: Interval | None
    """The same of the last ``RECENT``; None while they are fewer."""
    epoch: int = 0
    """Switches until then: a finding from before a switch decides nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A copy of what was predicted and what came, in the order of reports, to be evaluated in any thread: columns."""

    base: NDArray[np.float64]
    learned: NDArray[np.float64]
    tokens: Ints
    complete: NDArray[np.bool_]
    prompt: Ints
    """Equal where prompts are equal, 0 where that is not known."""
    source: NDArray[np.uint64]
    """Whose report it is; 0 for nobody's in particular."""
    arrival: NDArray[np.float64]
    """When the request arrived, by any clock; in steps of ``SAME_TIME``."""
    after: float
    """Requests count that arrived later than this."""
    whole_after: float
    """Of those that arrived later than this all are here that have ended."""
    seen: int
    epoch: int = 0

    def settled(self, *, all_that_is_known: bool = False) -> Ints:
        """At most the latest ``SIZE`` rows whose fellows have all but ended, in the order in which they arrived.

        Args:
            all_that_is_known: of before the last step back too.
        """
        after = self.whole_after if all_that_is_known else max(self.after, self.whole_after)
        order = np.lexsort((_shuffled(self.seen - np.arange(len(self.base), 0, -1)), self.arrival))
        counted = np.ones(len(order), np.bool_)
        counted[len(order) - min(self._unsettled(), len(order)) :] = False
        return order[counted & (self.arrival[order] > after)][-SIZE:]

    def evaluate(self, left_out: frozenset[int] = frozenset()) -> Finding:
        """Compare both: a few milliseconds, and 10 to 40 where some lengths are lower bounds.

        Args:
            left_out: sources whose reports do not count.
        """
        rows = self.settled()
        if left_out:
            rows = rows[~np.isin(self.source[rows], np.array(sorted(left_out), np.uint64))]
        whole = compare(self.sample(rows))
        recent = compare(self.sample(rows[-RECENT:])).tau_difference if len(rows) >= RECENT else None
        figures = whole.incumbent.tau, whole.candidate.tau, whole.tau_difference
        return Finding(self.seen, len(rows), *figures, recent, self.epoch)

    def sample(self, rows: Ints) -> PairedSample:
        """Some rows as they are compared: the learned score is the candidate."""
        tokens, prompt = self.tokens[rows], self.prompt[rows]
        group = np.where(prompt == 0, -1 - np.arange(len(rows)), np.abs(prompt))
        strata = np.zeros(len(rows), np.int64)
        return PairedSample(self.learned[rows], self.base[rows], tokens, self.complete[rows], strata, group)

    def _unsettled(self) -> int:
        """How many of the latest arrivals do not count yet: some that came with them may still wait.

        As many as overtook one that has ended now, nine times out of ten. No one source makes it many more than the
        others have it: one that holds its reports back would otherwise hold back the proof.
        """
        size = len(self.arrival)
        most = _by(self._overtaken(np.arange(max(size - LATEST, 0), size)))
        if most <= _LONG or not self.source.any():
            return most
        latest = np.arange(max(size - _LATEST_OF_OTHERS, 0), size)
        overtaken, source = self._overtaken(latest), self.source[latest]
        for one in np.unique(source[source != 0]):
            others = overtaken[source != one]
            if len(others) >= _LEAST_OTHERS:
                most = min(most, max(_LONG, math.ceil(_LEVERAGE * _by(others[-LATEST:]))))
        return most

    def _overtaken(self, rows: Ints) -> Ints:
        """By how many each of some rows was overtaken: they arrived no earlier, and ended before it."""
        passed = self.arrival >= self.arrival[rows][:, None]
        passed &= np.arange(len(self.arrival)) < rows[:, None]
        return np.asarray(passed.sum(axis=1))


def _by(overtaken: Ints) -> int:
    return math.ceil(_SLACK * float(np.quantile(overtaken, SETTLE))) if len(overtaken) else 0


def _shuffled(number: Ints) -> NDArray[np.uint64]:
    """Numbers in no order, always the same of each."""
    mixed = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(mixed ^ (mixed >> np.uint64(29)))
