"""How busy a served model is: its service rate, what requests wait, and the patience that was tuned for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rankd_client.ordering import CompletionHistory, Policy, ServiceRate

from rankd.settings import OrderSection

_RECENT_WAITS = 256


class WaitingTimes:
    """The mean of recent waiting times, without the largest twentieth: no one report moves it far."""

    def __init__(self) -> None:
        """Start without any."""
        self._recent: deque[float] = deque(maxlen=_RECENT_WAITS)

    def add(self, seconds: float) -> None:
        """Note one."""
        self._recent.append(seconds)

    @property
    def mean(self) -> float | None:
        """Seconds; None where none was reported."""
        if not self._recent:
            return None
        kept = sorted(self._recent)[: len(self._recent) - len(self._recent) // 20]
        return sum(kept) / len(kept)


@dataclass(slots=True, eq=False)
class ModelLoad:
    """How busy one served model is, by what was reported of it. Each is equal to itself only."""

    rate: ServiceRate = field(default_factory=ServiceRate)
    wait: WaitingTimes = field(default_factory=WaitingTimes)
    history: CompletionHistory = field(default_factory=CompletionHistory)
    reports: int = 0
    """Completions that were learned from."""
    patience: float | None = None
    """What replaying the history found, seconds per token; None where nothing is known."""
    taken: int = 0
    """Completions that went into the history."""
    tuned_at: int = 0
    """Of these, at the last tuning."""

    def tune_due(self, order: OrderSection) -> bool:
        """Whether it is time to tune the patience of the configured policy."""
        due = 0 < order.tune_every <= self.taken - self.tuned_at
        return due and Policy(order.policy) in (Policy.DUE, Policy.BOOST)

    def tuned(self, patience: float | None) -> None:
        """Take what a tuning found: half of it, as one window is one sample of the traffic; nothing keeps the old."""
        if patience is not None:
            self.patience = patience if self.patience is None else (self.patience + patience) / 2
