"""What a client went through, counted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from rankd_client._forks import follow_forks


@dataclass(slots=True, eq=False, weakref_slot=True)
class ClientStats:
    """What the client went through; safe to read at any time. ``fallbacks`` by reason, as of a ``RankedQueue``."""

    calls: int = 0
    ranked: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
    last_error: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        follow_forks(self)

    def forked(self) -> None:
        """Whoever held the lock is not in this process."""
        self.lock = threading.Lock()


def note(stats: ClientStats, reason: str, error: str = "") -> None:
    """Count a call: ranked where it has no reason, else a fallback."""
    with stats.lock:
        stats.calls += 1
        if reason:
            stats.fallbacks[reason] += 1
        else:
            stats.ranked += 1
        if error:
            stats.last_error = error
