"""How many connections there are file descriptors for: who connects beyond them would be kept waiting in silence."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_OWN = 28
"""Listeners, the event loop's, the daemon's channel, logs, modules that are loaded late."""
_PAGES = 64
_LEAST, _LEAST_BACKLOG = 4, 16


@dataclass(frozen=True, slots=True)
class Places:
    """Requests at a time on each listener, and how many may wait to be accepted."""

    main: int
    pages: int
    backlog: int


def places(wanted: int) -> Places:
    """What there are descriptors for: a request of a client takes two, and what comes at once is accepted at once.

    Args:
        wanted: requests at a time on the main listener.
    """
    free = max(allow_many_files() - _OWN, 0)
    pages = max(_LEAST, min(_PAGES, free // 8))
    backlog = max(_LEAST_BACKLOG, min(2048, free // 8))
    for_main = (free - 2 * pages - backlog) // 2 * 16 // 18  # a sixteenth more on either side
    return Places(max(_LEAST, min(wanted, for_main)), pages, backlog)


def allow_many_files() -> int:
    """Raise the limit on descriptors as far as it goes, which is above the 1,024 of most shells; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):  # a kernel that allows less than it says
            pass
    return soft if soft != resource.RLIM_INFINITY else 2**20
