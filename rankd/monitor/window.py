"""What is known of one served model and ranker version, and the settings that it is watched by."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from rankd_client.calibration import Calibration
from rankd_client.ordering import History, Policy, ServiceRate

from rankd.quality import (
    Bounded,
    Guard,
    GuardEvidence,
    GuardSettings,
    HealthEvidence,
    QualityEstimate,
    QualitySettings,
    QualityTracker,
    TenantShares,
    Transition,
)
from rankd.quality.statistics.cohort_sums import CohortSums
from rankd.settings.load import Order, Settings

_RECENT_BATCHES = 64
_RECENT_WAITS = 256
_MOST_CHANGES = 64


def quality_settings(settings: Settings) -> QualitySettings:
    """The trackers' settings."""
    quality, guard = settings.quality, settings.guard
    return QualitySettings(
        window=quality.window,
        pair_window=quality.pair_window,
        cohort=quality.cohort,
        guard_cohort=guard.cohort,
        arrivals=max(quality.arrivals, guard.cohort),
        dedupe=quality.dedupe,
        progress_ttl=quality.progress_ttl,
        horizon=quality.horizon_tokens,
        guard_every=guard.every,
    )


def guard_settings(settings: Settings) -> GuardSettings:
    """The guards' settings."""
    guard = settings.guard
    return GuardSettings(
        floor=guard.floor,
        margin=guard.margin,
        min_known=guard.min_known,
        dwell=guard.dwell,
        dwell_max=guard.dwell_max,
        max_latency=guard.max_latency,
        max_consecutive_failures=guard.max_consecutive_failures,
        recover_successes=guard.recover_successes,
    )


def tenant_shares(settings: Settings) -> TenantShares:
    """What bounds a tenant's part in one view."""
    quality = settings.quality
    least = settings.guard.min_known * (1.0 - quality.max_tenant_share)
    return TenantShares(quality.max_tenant_share, quality.tenant_share_period, least, settings.guard.cohort)


class Waits:
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


@dataclass(slots=True)
class Load:
    """How busy one served model is, by what was reported of it."""

    rate: ServiceRate = field(default_factory=ServiceRate)
    wait: Waits = field(default_factory=Waits)
    history: History = field(default_factory=History)
    patience: float | None = None
    """What replaying the history found, seconds per token; None where nothing is known."""
    taken: int = 0
    """Completions that went into the history."""
    tuned_at: int = 0
    """Of these, at the last tuning."""
    tuning: bool = False
    """Patience is being tuned in the worker thread."""

    def tune_due(self, order: Order) -> bool:
        """Whether it is time to tune the patience of the configured policy."""
        due = 0 < order.tune_every <= self.taken - self.tuned_at
        return due and not self.tuning and Policy(order.policy) in (Policy.DUE, Policy.BOOST)

    def tuned(self, patience: float | None) -> None:
        """Take what a tuning found: half of it, as one window is one sample of the traffic; nothing keeps the old."""
        if patience is not None:
            self.patience = patience if self.patience is None else (self.patience + patience) / 2


@dataclass(frozen=True, slots=True)
class Trust:
    """What an order needs to know of a ranker on a model."""

    ranks: bool
    worth_waiting: bool
    """False while batches fail or take too long."""
    calibration: Calibration | None
    level: float
    """How far, 0 to 1: what the dial is set by."""
    load: Load = field(compare=False)
    """How fast its model is served, and how long requests wait for it. Changes all the time, the trust does not."""

    def drain(self, tokens: float) -> float | None:
        """Seconds that a backlog of so many tokens takes; None where nothing is known.

        At least what requests waited of late: a caller may ask for one request, and have many waiting.
        """
        known = [s for s in (self.load.rate.drain(tokens), self.load.wait.mean) if s is not None]
        # That nothing waited so far says nothing of a queue that there is now.
        return max(known, default=0.0) or None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """How a guard stands to the fleet's."""

    decides: bool
    """The fleet does, not this replica's own evidence."""
    leads: bool
    """This replica does so, for all."""
    peers: int
    """Replicas heard, this one not counted, that know of its model and ranker version."""
    replicas: int
    """Whose evidence counts, this one included."""
    tau: Bounded | None
    """Theirs together."""


@dataclass(slots=True)
class View:
    """All that is known of one served model and ranker version."""

    model: str
    ranker_version: str
    tracker: QualityTracker
    guard: Guard
    measured: bool
    """The manifest carries a measured tau."""
    prior: Calibration | None
    """The manifest's."""
    calibration: Calibration | None
    """The prior refined by completions."""
    load: Load = field(default_factory=Load)
    shares: TenantShares = field(default_factory=TenantShares)
    """Whose reports it was learned from."""
    reason: str = "no_evidence"
    transitions: int = 0
    changes: deque[Transition] = field(default_factory=lambda: deque(maxlen=_MOST_CHANGES))
    """The last changes of its guard, the oldest first."""
    used_at: float = 0.0
    """Its last report, or an operator's last word, by the daemon's clock."""
    refit_at: int = 0
    refitting: bool = False
    """A calibration is being learned in the worker thread."""
    judging: asyncio.Future[GuardEvidence] | None = None
    """The guard's evidence, while it is being computed in the worker thread."""
    busy: bool = False
    """An estimate is being computed there."""
    estimate: QualityEstimate | None = None
    estimated_at: int = -1
    """Completions at the time of the estimate."""
    sums: CohortSums | None = None
    """Of the guard's cohort at the last look: what peers are told."""
    fleet: FleetStatus | None = None
    """None where there are no peers to ask."""
    looked: dict[str, int] = field(default_factory=dict)
    """Completions by replica at the last look at the fleet's evidence; empty where another one leads."""


@dataclass(slots=True)
class Health:
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
