"""How busy a served model is: its service rate, what requests wait, and the patience that was tuned for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankd_client.ordering import Policy, ServiceRate

from rankd.monitor.supported import ServedHistory, TenantValues
from rankd.settings import OrderSection

_SHORT_WAIT = 10.0
"""Seconds."""
_SHORT_LENGTH = 256.0
"""Tokens."""


class WaitingTimes:
    """The mean of recent waiting times, without the largest twentieth: no report moves it far, and no tenant."""

    def __init__(self) -> None:
        """Start without any."""
        self._values = TenantValues(_SHORT_WAIT)
        self._mean: float | None = None
        self._stale = False

    def add(self, seconds: float, tenant: str = "") -> None:
        """Note one."""
        self._values.add(seconds, tenant)
        self._stale = True

    @property
    def mean(self) -> float | None:
        """Seconds; None where none was reported."""
        if self._stale:
            counted = sorted(self._values.all_counted())
            kept = counted[: len(counted) - len(counted) // 20]
            self._mean, self._stale = sum(kept) / len(kept), False
        return self._mean


class ServiceLengths:
    """What a completion counts for in the rate at which a model is served, output tokens."""

    def __init__(self) -> None:
        """Start without any."""
        self._values = TenantValues(_SHORT_LENGTH)

    def counted(self, tokens: float, tenant: str) -> float:
        """Note one, and say what it counts for: of one tenant no more than a few times what the others report."""
        self._values.add(tokens, tenant)
        return self._values.counted(tokens, tenant)


@dataclass(slots=True, eq=False)
class ModelLoad:
    """How busy one served model is, by what was reported of it. Each is equal to itself only."""

    rate: ServiceRate = field(default_factory=ServiceRate)
    wait: WaitingTimes = field(default_factory=WaitingTimes)
    history: ServedHistory = field(default_factory=ServedHistory)
    lengths: ServiceLengths = field(default_factory=ServiceLengths)
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
