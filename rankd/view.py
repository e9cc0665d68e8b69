"""What is known of one served model and ranker version, and the settings that it is watched by."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from rankd_client.calibration import Calibration

from rankd.config import Settings
from rankd.quality import (
    Guard,
    GuardEvidence,
    GuardSettings,
    HealthEvidence,
    QualityEstimate,
    QualitySettings,
    QualityTracker,
)

_RECENT_BATCHES = 64


def quality_settings(settings: Settings) -> QualitySettings:
    """The trackers' settings."""
    quality, guard = settings.quality, settings.guard
    return QualitySettings(
        window=quality.window,
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


@dataclass(frozen=True, slots=True)
class Trust:
    """What an order needs to know of a ranker on a model."""

    ranks: bool
    worth_waiting: bool
    """False while batches fail or take too long."""
    calibration: Calibration | None


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
    reason: str = "no_evidence"
    transitions: int = 0
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
