"""How engines' requests were placed of late, as plug-ins and proxies tell: the daemon cannot see who did not wait."""

from __future__ import annotations

from collections import deque

from rankd_client import Placed

RECENT_SECONDS = 300.0
_STEP = 10.0
"""Seconds that are added up into one row."""


class RecentPlacements:
    """Adds up what is told, over the last minutes. Event loop's thread only."""

    def __init__(self) -> None:
        """Nothing was told."""
        self._rows: deque[tuple[float, Placed]] = deque()

    def add(self, placed: Placed, now: float) -> None:
        """Take what a caller tells, at a time by the daemon's clock."""
        if self._rows and 0 <= now - self._rows[-1][0] < _STEP:
            since, before = self._rows.pop()
            self._rows.append((since, before + placed))
        else:
            self._rows.append((now, placed))
        self._forget(now)

    def recent(self, now: float) -> Placed:
        """All of the last five minutes."""
        self._forget(now)
        return sum((placed for _, placed in self._rows), Placed())

    def _forget(self, now: float) -> None:
        while self._rows and not 0 <= now - self._rows[0][0] < RECENT_SECONDS:
            self._rows.popleft()
