"""What a client went through, counted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ClientStats:
    """What the client went through; safe to read at any time. ``fallbacks`` by reason, as of a ``RankedQueue``."""

    calls: int = 0
    ranked: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
    last_error: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


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
