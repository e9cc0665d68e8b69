"""How the batches of one ranker went of late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rankd.quality import HealthEvidence

_RECENT_BATCHES = 64


@dataclass(slots=True)
class BatchHealth:
    """How the batches of one ranker version went of late."""

    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT_BATCHES))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    consecutive_failures: int = 0
    consecutive_successes: int = 0

    def add(self, *, ok: bool, seconds: float) -> HealthEvidence:
        """Take one batch and how long the model ran; say how things stand."""
        self.recent.append(ok)
        self.seconds.append(seconds)
        self.consecutive_failures = 0 if ok else self.consecutive_failures + 1
        self.consecutive_successes = self.consecutive_successes + 1 if ok else 0
        return self.evidence(sorted(self.seconds)[len(self.seconds) // 2])

    def evidence(self, latency: float) -> HealthEvidence:
        """How things stand, with a latency in seconds."""
        return HealthEvidence(
            batches=len(self.recent),
            failures=self.recent.count(False),
            consecutive_failures=self.consecutive_failures,
            consecutive_successes=self.consecutive_successes,
            latency=latency,
        )
