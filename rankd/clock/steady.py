"""The daemon's own clock: seconds since the epoch as the machine told them first, whatever it tells later.

A machine's clock is set: by NTP after a boot, by an operator, by a host that lost its own. What is learned and decided
must not notice. So every time inside the daemon is one of this clock, which runs as the monotonic clock does. It begins
near the epoch's seconds only so that times read well. Where times leave the daemon, or come in, they are translated by
what the machine's clock tells *now*: ``to_wall``, ``from_wall``.
"""

from __future__ import annotations

import threading
import time
from collections import deque

_SAME = 0.1
"""Seconds; a smaller change of the machine's clock is none, or the same time would be shown in many ways."""
_AT_ONCE = 0.01
_MOST_STEPS = 64


class SteadyClock:
    """A clock that never steps, and what the machine's clock was ahead of it, now and of late. Any thread may ask."""

    def __init__(self) -> None:
        """Begin with the machine's clock."""
        self._origin = time.time() - time.monotonic()
        self._offset = 0.0
        self._steps: deque[tuple[float, float]] = deque(maxlen=_MOST_STEPS)
        """Offsets of before, each with when it was seen last, the oldest first."""
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds. Never runs backwards, and never jumps."""
        return self._origin + time.monotonic()

    def offset(self) -> float:
        """Seconds that the machine's clock is ahead of this one now; call at least once a second to notice steps."""
        before = self.now()
        wall = time.time()
        found = wall - before
        # A thread that was held up between two readings has seen no step: the next one looks again.
        if abs(found - self._offset) > _SAME and self.now() - before < _AT_ONCE:
            with self._lock:
                self._steps.append((before, self._offset))
                self._offset = found
        return self._offset

    def to_wall(self, at: float) -> float:
        """A time of this clock as the machine's clock would tell it: for what is shown, sent or kept."""
        return at + self.offset()

    def from_wall(self, at: float) -> float:
        """A time by the machine's clock as one of this clock."""
        return at - self.offset()

    def longest_since(self, stamp: float, memory: float) -> float:
        """The most seconds that can have passed since the machine's clock told a time.

        Args:
            stamp: what it told, seconds since the epoch.
            memory: seconds; steps of its that are longer ago are not thought of.

        Returns:
            Exact where the clock was not set in that time, else too much by at most what it was set by. Below 0 where
            the stamp is of the future: another clock told it.
        """
        now, ahead = self.now(), self.offset()
        for until, offset in tuple(self._steps):
            if now - until <= memory:
                ahead = max(ahead, offset)
        return now + ahead - stamp


CLOCK = SteadyClock()
"""Of this process: daemons that share a process, as in tests, share the machine's clock too."""
