"""How long requests wait in an engine, by how many are there: learned from when their answers begin. No I/O.

Nobody asks the engine. What it is told by is the time from when a request goes to the engine until its answer begins,
less what that takes where nothing waits. Of answers that come in one piece the beginning is the end, so that the time
to make them is in it: they are compared with those that had fewer beside them.
"""

from __future__ import annotations

import enum
import math
import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rankd_client._forks import follow_forks

_LAST = 64
"""Requests of each number beside them that are remembered."""
_ENOUGH = 4
"""Of them, from which on that number is known."""
_STARTS_AT_ONCE = 0.1
"""Share of streams that are taken not to have waited: of a burst some places' worth goes straight in."""
_FEWER = 4
"""Times fewer beside them: with so many an engine is taken to be unburdened, next to what it is asked about."""
_NO_WAIT = 0.02
"""Seconds below which nothing is taken to wait: two engines' iterations, and the clock's noise."""
_BEYOND = 2
"""Times as many as ever known, from which on that nothing waited with fewer says nothing."""


class Begun(enum.Enum):
    """How a beginning was seen, the surest first."""

    ENGINE = "engine"
    """The engine says how long it waited."""
    STREAM = "stream"
    """The first piece of an answer in pieces."""
    WHOLE = "whole"
    """The only piece of one that is in one."""


@dataclass(slots=True)
class _SeenWait:
    """Of one number beside them."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_LAST))
    quantiles: tuple[float, float] = (math.nan, math.nan)
    """The tenth and the half, of what is remembered."""

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)
        ordered = sorted(self.seconds)
        self.quantiles = _quantile(ordered, _STARTS_AT_ONCE), _quantile(ordered, 0.5)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class ExpectedWait:
    """What the median request waits that comes when so many are beside it. Safe across threads."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._seen: dict[Begun, dict[int, _SeenWait]] = {how: {} for how in Begun}
        self._known: dict[int, float] | None = None
        """What is known by number beside; None where more was learned since."""
        self._lock = threading.Lock()
        follow_forks(self)

    def forked(self) -> None:
        """Whoever held the lock is not in this process."""
        self._lock = threading.Lock()

    def learn(self, beside: int, seconds: float, how: Begun) -> None:
        """Take in a request: how many were beside it when it went to the engine, and how long its answer took to begin.

        Args:
            beside: requests that the engine had.
            seconds: from when it went there.
            how: what these are.
        """
        if math.isfinite(seconds):
            with self._lock:
                self._seen[how].setdefault(_step(beside), _SeenWait()).add(max(0.0, seconds))
                self._known = None

    def seconds(self, beside: int) -> float | None:
        """What to expect with so many beside; None where nothing is known of it.

        Between numbers that are known it lies between what is known of them. With more than are known it grows as they
        do; but that nothing waited says nothing of twice as many, nor that some waited of fewer.
        """
        if beside <= 0:
            return 0.0
        step = _step(beside)
        known = self._all_known()
        if not known:
            return None
        steps = sorted(known)
        below = bisect_right(steps, step) - 1
        above = bisect_left(steps, step)
        if below < 0:  # of fewer nothing is known, but where more did not wait
            return 0.0 if known[steps[0]] < _NO_WAIT else None
        if above == len(steps):
            most = steps[-1]
            if known[most] < _NO_WAIT and step > _BEYOND * most:
                return None
            return known[most] * step / most
        low, high = steps[below], steps[above]
        share = (step - low) / (high - low) if high > low else 0.0
        return known[low] + share * (known[high] - known[low])

    def _all_known(self) -> dict[int, float]:
        known = self._known
        if known is None:
            known = {}
            with self._lock:
                for how in reversed(Begun):  # the surest last, which is the one that holds
                    known |= self._waits(how)
                self._known = known
        return known

    def _waits(self, how: Begun) -> dict[int, float]:
        """By number beside, what is known by one kind of answers; 0 beside is not among them."""
        seen = {step: s for step, s in self._seen[how].items() if len(s.seconds) >= _ENOUGH}
        if how is Begun.ENGINE:
            return {step: s.quantiles[1] for step, s in seen.items() if step}
        if how is Begun.STREAM:
            at_once = min((s.quantiles[0] for s in seen.values()), default=0.0)
            return {step: max(0.0, s.quantiles[1] - at_once) for step, s in seen.items() if step}
        out = {}
        for step, s in seen.items():
            fewer = [f.quantiles[1] for other, f in seen.items() if _FEWER * max(other, 0.5) <= step]
            if fewer:
                out[step] = max(0.0, s.quantiles[1] - min(fewer))
        return out


def _step(beside: int) -> int:
    """The number that stands for it: some are told apart each, and larger ones by halves of an octave."""
    if beside < 4:
        return max(0, beside)
    octave = beside.bit_length() - 1
    base = 1 << octave
    return base + base // 2 if beside >= base + base // 2 else base
