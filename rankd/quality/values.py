"""The values of ``rankd.quality``: a report and what became of it, an estimate, and the settings of a tracker."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from rankd.quality.statistics.interval import Interval

MAX_TOKENS = 2**31 - 1
"""Longest length that is accepted; the exact integer sums stay far below 2**63 with it."""

UNKNOWN_PROMPT = -1
"""In place of a number of prompt tokens."""


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """One outcome, stripped of everything that could name a request.

    ``key`` is a 64-bit hash of the request id, ``tokens`` the output tokens so far. ``final`` is
    false for progress of a request that still waits (tokens 0) or runs; ``final`` without
    ``complete`` is right-censored: the true length is at least ``tokens``.
    """

    key: int
    score: float
    tokens: int
    final: bool
    complete: bool
    arrival: float
    source: int = 0
    """A 64-bit hash of the tenant that reports; 0 where none is known."""
    prompt: int = UNKNOWN_PROMPT
    """Prompt tokens that the engine has to read, or has read; ``UNKNOWN_PROMPT`` where they were not counted."""
    learned: float = math.nan
    """The learned score, as it was at the request's first report; NaN where there was none."""


class ReportVerdict(enum.Enum):
    """What became of a report."""

    ACCEPTED = "accepted"
    """Counted."""
    DUPLICATE = "duplicate"
    """A final report of this request was counted before."""
    STALE = "stale"
    """Overtaken: progress after the final report, or fewer tokens than known already."""
    INVALID = "invalid"
    """Cannot be true: a score that is not finite, an impossible token count."""
    OVER_SHARE = "over_share"
    """Not learned from: its tenant fills its share already, and others report too. Never a tracker's own verdict."""


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """Sizes and limits of one tracker; every one of them bounds memory or work."""

    window: int = 4096
    """Complete requests in the plain window (tau-b, realised gain, head and tail tau)."""
    pair_window: int = 256
    """Complete requests before it that each one is compared with in the sums that replicas are added up by."""
    cohort: int = 2048
    """Arrivals in the censoring-aware estimate that is reported."""
    guard_cohort: int = 320
    """Arrivals in the short recent cohort that the guard decides on."""
    arrivals: int = 8192
    """Arrivals remembered, waiting ones included; beyond it arrivals are sampled by their hash."""
    dedupe: int = 16384
    """Final reports remembered for telling duplicates."""
    progress_ttl: float = 60.0
    """Seconds after which a request that stopped reporting progress no longer counts as open."""
    horizon: int = 16384
    """Largest horizon in tokens: lengths are compared as min(length, horizon)."""
    min_cohort: int = 50
    """Requests of known length below which there is no censoring-aware estimate."""
    settle: float = 0.9
    """Arrivals count once this share of requests, by the reports so far, has ended by their age."""
    z: float = 1.959964
    """Normal quantile of the reported intervals (two-sided 95 %)."""
    guard_z: float = 1.644854
    """Normal quantile of the guard's bounds (each one-sided 95 %)."""
    guard_every: int = 20
    """Final reports between two evaluations of the guard's evidence."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        least_of = {"window": 2, "pair_window": 1, "cohort": 2, "guard_cohort": 2, "dedupe": 1, "guard_every": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        if self.arrivals < max(self.cohort, self.guard_cohort):
            raise ValueError("arrivals must be at least cohort and guard_cohort")
        if not 1 <= self.horizon <= MAX_TOKENS:
            raise ValueError(f"horizon must be in 1..{MAX_TOKENS}")
        if not 0 < self.settle < 1:
            raise ValueError("settle must be between 0 and 1")
        if not self.progress_ttl > 0:
            raise ValueError("progress_ttl must be positive")


@dataclass(frozen=True, slots=True)
class QualityEstimate:
    """Everything known about one (model, ranker version); None means undefined, never NaN."""

    at: float
    tau_b: Interval | None
    """Tau-b of the last complete requests: biased where long requests have yet to finish."""
    realised_gain: Interval | None
    """Share of oracle shortest-first's gain over random order that the scores realise."""
    head_tau: float | None
    tail_tau: float | None
    window_size: int
    tau: Interval | None
    """The censoring-aware tau of scores against lengths."""
    work_tau: Interval | None
    """The same of expected against realised work, as the guard decides; ``tau`` where no prompt costs anything."""
    prompt_work_tau: Interval | None
    """The same where every answer is expected to be of average length; None where no prompt costs anything."""
    realised_work_gain: Interval | None
    """As ``realised_gain``, of expected against realised work, over the cohort's finished requests."""
    cohort_size: int
    comparable_pairs: int
    decided_pair_share: float | None
    horizon_tokens: int | None
    progress_seen: bool
    """False: nobody reports progress, so the cohort knows only what has ended (see docs/science/quality.md)."""
    finished: int
    censored: int
    open: int
    expired: int
    duplicates: int
    stale: int
    invalid: int
    learned: bool = False
    """Whether all of this is of learned scores; False: of the ranker's own."""
