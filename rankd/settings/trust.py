"""How live quality is measured, and when it is good enough to rank."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from rankd.settings.section import LONGEST, Section


class QualitySection(Section):
    """How live quality is measured (docs/science/quality.md)."""

    window: int = Field(4096, ge=32, le=65536, description="Finished requests in the plain window.")
    pair_window: int = Field(
        256,
        ge=16,
        le=8192,
        description="Complete reports before it that each one is compared with in the sums that replicas are added up "
        "by (docs/science/fleet.md).",
    )
    cohort: int = Field(2048, ge=32, le=8192, description="Arrivals in the censoring-aware tau that is reported.")
    arrivals: int = Field(8192, ge=64, le=131072, description="Arrivals remembered, unfinished ones included.")
    dedupe: int = Field(16384, ge=1, le=2**20, description="Final reports remembered to tell duplicates.")
    max_windows: int = Field(
        32,
        ge=1,
        le=4096,
        description="Pairs of served model and ranker version that are followed, up to 7 MB each, half of it to learn "
        "from (adapt); reports of others are accepted, and nothing is learned from them.",
    )
    forget_after: float = Field(
        86400.0,
        gt=0,
        le=LONGEST,
        description="Seconds without a report after which a window that is not pinned may make room for another; "
        "before that only one with fewer than guard.min_known completions, not pinned and not in fallback, does.",
    )
    savings_window: int = Field(
        4000,
        ge=200,
        le=10**5,
        description="Most recent completions of a served model that are replayed in arrival order to tell what ranking "
        "saved (docs/science/savings.md); some 400 bytes each.",
    )
    idle_after: float = Field(
        300.0,
        gt=0,
        le=LONGEST,
        description="Seconds without a completion after which a served model counts as idle: what ranking saved is of "
        "before (docs/science/savings.md).",
    )
    horizon_tokens: int = Field(16384, ge=1, le=2**31 - 1, description="Lengths are compared up to this many tokens.")
    progress_ttl: float = Field(
        60.0, gt=0, le=LONGEST, description="Progress that is not renewed is forgotten, seconds."
    )
    models: tuple[str, ...] = Field((), description="Served models that are accepted; empty accepts any.")
    max_tenant_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Most of what is learned of a served model and ranker version that one tenant with a credential of "
        "its own may bring while others report too; reports beyond are accepted, and nothing is learned from them. 1 "
        "is no bound.",
    )
    tenant_share_period: float = Field(
        600.0,
        ge=1,
        le=LONGEST,
        description="Seconds over which max_tenant_share is counted; others report too where they brought at least "
        "guard.min_known times 1 - max_tenant_share reports in them.",
    )
    snapshot: Path | None = Field(
        None,
        description="File that windows are written to, on SIGTERM too, and restored from at the start; for each daemon "
        "one of its own, on a volume that outlives it. Empty: a restart begins with empty windows.",
    )
    snapshot_every: float = Field(60.0, ge=1, le=LONGEST, description="Seconds between two writes of that file.")
    snapshot_key: SecretStr = Field(
        SecretStr(""),
        description="Secret that the hashes of request ids in that file are made with. Empty: whoever reads the file "
        "and guesses an id can tell whether it was reported.",
    )

    @model_validator(mode="after")
    def _arrivals_hold_cohort(self) -> QualitySection:
        if self.arrivals < self.cohort:
            raise ValueError(f"arrivals {self.arrivals} must be at least cohort {self.cohort}")
        return self


class GuardSection(Section):
    """When the ranker is not trusted (docs/science/quality.md)."""

    enabled: bool = Field(True, description="False ranks whatever the quality.")
    cohort: int = Field(320, ge=64, le=8192, description="Recent arrivals that the guard looks at.")
    every: int = Field(20, ge=1, le=10**6, description="Completions between two looks.")
    floor: float = Field(0.14, ge=-1, le=1, description="Fall back when tau's upper bound is below.")
    margin: float = Field(0.05, ge=0, le=1, description="Return when tau's lower bound is above floor + margin.")
    min_known: int = Field(200, ge=8, le=8192, description="Known lengths without which quality decides nothing.")
    dwell: float = Field(60.0, ge=0, le=LONGEST, description="Least seconds between two changes.")
    dwell_max: float = Field(
        14400.0, ge=0, le=LONGEST, description="Longest stay in fallback that relapses lead to, seconds."
    )
    max_latency: float = Field(1.0, gt=0, le=LONGEST, description="Seconds a batch may take.")
    max_consecutive_failures: int = Field(5, ge=1, le=10**6, description="Failing batches in a row that end ranking.")
    recover_successes: int = Field(20, ge=1, le=10**6, description="Batches in a row that must succeed to rank again.")

    @model_validator(mode="after")
    def _order(self) -> GuardSection:
        if self.floor + self.margin >= 1:
            raise ValueError("floor + margin must be below 1, or nothing ever recovers")
        if self.dwell_max < self.dwell:
            raise ValueError("dwell_max must be at least dwell")
        return self
