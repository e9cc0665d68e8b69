"""A guard's settings, evidence, changes and state: plain values."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from rankd.quality.guard_evidence import GuardEvidence
from rankd.quality.prompt_judgement import PromptStanding
from rankd.types import GuardMode


class GuardReason(enum.Enum):
    """Why the guard changed its mode."""

    WARMED_UP = "warmed_up"
    """Enough has been observed, and it is good."""
    QUALITY = "quality"
    """The upper confidence bound of tau fell below the floor."""
    ERRORS = "errors"
    """Batches fail."""
    LATENCY = "latency"
    """Scoring takes too long."""
    RECOVERED = "recovered"
    """What was wrong is well again, seen in the shadow."""
    PINNED = "pinned"
    """An admin fixed the mode for a while."""
    UNPINNED = "unpinned"
    """The pin ended, by hand or by itself."""
    FOLLOWED = "followed"
    """The fleet's guard is in this mode (docs/guides/fleet.md)."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Thresholds; the defaults' behaviour is measured in docs/measurements/2026-11-25-live-quality.md."""

    floor: float = 0.14
    """Fall back when tau's upper confidence bound is below this: surely not worth reordering for."""
    margin: float = 0.05
    """Rank again when tau's lower confidence bound is above floor + margin."""
    min_known: int = 200
    """Requests of known length in the guard's cohort below which quality decides nothing."""
    confirm: int = 2
    """Evaluations in a row that must agree before quality changes the mode."""
    dwell: float = 60.0
    """Seconds a mode is kept before quality, latency or a recovery may change it."""
    dwell_max: float = 14400.0
    """Longest time in fallback that relapses can escalate to."""
    relapse_window: float = 86400.0
    """A fallback within this time of the last recovery doubles the next stay in fallback."""
    max_consecutive_failures: int = 5
    """Failing batches in a row that end ranking at once."""
    max_failure_share: float = 0.5
    """Share of failing batches among the recent ones that ends ranking."""
    min_batches: int = 20
    """Recent batches below which the share says nothing."""
    max_latency: float = 1.0
    """Scoring latency in seconds that is too long (which quantile is the caller's choice)."""
    latency_confirm: int = 3
    """Health reports in a row with too long a latency before it ends ranking."""
    recover_successes: int = 20
    """Shadow batches in a row that must succeed before ranking resumes after errors or latency."""

    def __post_init__(self) -> None:
        """Refuse thresholds that cannot work."""
        if not (-1 <= self.floor <= 1 and self.margin >= 0 and self.floor + self.margin < 1):
            raise ValueError("floor must be in -1..1, margin at least 0, and their sum below 1")
        if not (0 <= self.dwell <= self.dwell_max):
            raise ValueError("dwell must be in 0..dwell_max")
        if not 0 < self.max_failure_share <= 1:
            raise ValueError("max_failure_share must be in 0..1")
        for name in ("min_known", "confirm", "max_consecutive_failures", "min_batches", "latency_confirm"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


@dataclass(frozen=True, slots=True)
class HealthEvidence:
    """How scoring went of late; in fallback it comes from scoring in the shadow."""

    batches: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    latency: float | None = None
    """Seconds; None where nothing was scored."""


Evidence = GuardEvidence | HealthEvidence | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of mode, with what it was decided on."""

    at: float
    origin: GuardMode
    to: GuardMode
    reason: GuardReason
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class GuardStanding:
    """What quality has led to so far: all that a guard which begins must know to go on as another one."""

    mode: GuardMode
    since: float
    """When it was entered; -inf before the first change."""
    cause: GuardReason | None
    """Why it is in fallback; None in other modes."""
    stay: float
    """Seconds that the last fallback lasts, at least."""
    recovered_at: float
    relapses: int
    tau_low: float | None
    """Lower bound of tau when it was last evidence; None before."""
    prompts: PromptStanding = field(default_factory=PromptStanding)

    def check(self) -> None:
        """Refuse what no guard ever stands at: a file or a peer said so.

        Raises:
            ValueError: naming what cannot be.
        """
        causes = (GuardReason.QUALITY, GuardReason.ERRORS, GuardReason.LATENCY)
        if (self.cause in causes) is not (self.mode is GuardMode.FALLBACK) or self.cause not in (None, *causes):
            raise ValueError("cause: one of quality, errors and latency goes with fallback, none with other modes")
        if not (math.isfinite(self.stay) and self.stay >= 0 and self.relapses >= 0):
            raise ValueError("stay and relapses must be at least 0, and finite")
        if self.tau_low is not None and not -1 <= self.tau_low <= 1:
            raise ValueError("tau_low must be in -1 to 1")
        self.prompts.check()

    @property
    def scoring_failed(self) -> bool:
        """In fallback because scoring fails or is slow, which is a replica's own affair."""
        return self.mode is GuardMode.FALLBACK and self.cause is not GuardReason.QUALITY
