"""Pauses between tries that grow while a daemon does not answer.

A class of its own rather than a library such as stamina or tenacity: those repeat a call until it succeeds, and sleep
while they do. Here the tries are somebody else's next request, a thread's next round or a task in the background, which
only need to know how long to leave the daemon alone, under threads and event loops alike.
"""

from __future__ import annotations


class Backoff:
    """Truncated exponential backoff: each pause is twice the one before, up to a longest one.

    Without jitter: a client tries at most a few times a second, and daemons are asked by few.
    """

    __slots__ = ("_first", "_longest", "_next")

    def __init__(self, first: float, longest: float) -> None:
        """Take the first and the longest pause, in seconds; the first is no longer than the longest."""
        self._first = self._next = min(first, longest)
        self._longest = longest

    @property
    def longest(self) -> float:
        """The longest pause, in seconds."""
        return self._longest

    @property
    def exhausted(self) -> bool:
        """Whether pauses grow no more: the next one is the longest."""
        return self._next >= self._longest

    def pause(self) -> float:
        """Seconds to wait before the next try, as the last one failed."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again with the first pause, as a try succeeded."""
        self._next = self._first
