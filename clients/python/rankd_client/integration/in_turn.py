"""A little of a long work at each iteration of an engine, all of it in the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator

_MOST, _SECONDS = 8, 5e-5


class InTurn:
    """Names a few of those that are there at a time, each in its turn."""

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        """Begin with nobody.

        Args:
            most: how many are named at a time.
            seconds: after which no more are named this time, at least one.
        """
        self._most, self._seconds = most, seconds
        self._turn: deque[str] = deque()

    def some(self, present: Collection[str]) -> Iterator[str]:
        """Some of those that are there, whoever was not named for longest first; what is done with each takes time."""
        end = time.perf_counter() + self._seconds
        for _ in range(min(self._most, len(present))):
            if not self._turn:
                self._turn.extend(present)
            one = self._turn.popleft()
            if one in present:
                yield one
            if time.perf_counter() > end:
                return
