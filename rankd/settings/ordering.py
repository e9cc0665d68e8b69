"""How scores become an order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from rankd_client.ordering import Objective, Policy, parse_target
from rankd_client.ordering.objectives import PATIENT

from rankd.settings.section import LONGEST, Section

ObjectiveName = Literal["tail", "balanced", "mean", "slo", "makespan", "first"]
_Class = Annotated[int, Field(ge=-(2**15), le=2**15 - 1)]


class OrderSection(Section):
    """How scores become an order."""

    objective: ObjectiveName = Field(
        "balanced",
        description="What the queue is ordered for: `tail`, `balanced`, `mean`, `slo`, `makespan` or `first` "
        "(docs/guides/ordering.md).",
    )
    slo: str = Field(
        "",
        description="Target of the objective `slo`, such as `99 % within 30 s` or `95 % first token within 800 ms`.",
    )
    class_objectives: dict[_Class, ObjectiveName] = Field(
        default_factory=dict, description="Objectives of priority classes that have one of their own, by class."
    )
    policy: Literal["boost", "due", "aged", "score", "fcfs"] = Field(
        "boost", description="Policy of calls that name none."
    )
    patience_per_token: float = Field(
        0.2,
        ge=0,
        le=1e6,
        description="Seconds a request is willing to wait per expected token (theta of `due`, and of `boost` for a "
        "request of average length) where neither tuning nor the backlog's drain time is known.",
    )
    patience_backlog_share: float = Field(
        0.5,
        ge=0,
        le=1e6,
        description="Patience for a request of average length, as a share of the time that the backlog takes to drain, "
        "until tuning says better; 0 keeps patience_per_token.",
    )
    tail_budget: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="How much larger than under arrival order the 99th percentile of latency may be when patience is "
        "tuned by replaying recent completions, at least 1; 0 leaves it to the objective.",
    )
    tune_every: int = Field(
        500, ge=0, le=10**9, description="Completions, with their durations, between two tunings of patience; 0 is off."
    )
    tune_window: int = Field(
        2000, ge=100, le=10**5, description="Most recent completions that are replayed to tune patience."
    )
    max_patience_per_token: float = Field(
        1e6, ge=0, le=1e6, description="Patience never exceeds this, seconds per expected token."
    )
    full_trust_tau: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Lower bound of live tau from which patience is full; below, it shrinks to 0, which is FCFS.",
    )
    age_exponent: float = Field(
        1.0, ge=0, le=64, description="Exponent of `aged`: largest wait / length ^ exponent first; 1 is HRRN."
    )
    risk: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Weight of the calibration's 90th percentile against its mean in what counts as a length.",
    )
    wait_cap: float = Field(
        0.0, ge=0, le=LONGEST, description="Who waits for longer goes first, oldest first, seconds; 0 is no cap."
    )
    wait_cap_backlog_share: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="The wait cap is at least so many times the backlog's drain time; 0 does not scale it.",
    )
    overtake_cap: int = Field(
        0, ge=0, le=2**31 - 1, description="Who was overtaken so often is overtaken no more; 0 is no cap."
    )
    classes: Literal["strict", "weighted"] = Field(
        "strict", description="A lower priority class always goes first, or has a head start of class_step."
    )
    class_step: float = Field(
        10.0, ge=0, le=LONGEST, description="Head start of a weighted class before the next one, seconds."
    )
    pace_per_token: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Seconds per output token that a running request takes, for deadlines; 0 is as learned.",
    )
    prompt_cost: float = Field(
        -1.0,
        ge=-1,
        le=1e6,
        description="What an uncached prompt token counts for in expected work, in output tokens; 0 orders by output "
        "length alone, -1 is as learned from completions.",
    )
    fair_tenants: bool = Field(True, description="Tenants share fairly, by what the caller says they were served.")
    prompt_weight: float = Field(0.5, ge=0, le=1e6, description="What a prompt token costs a tenant, in output tokens.")
    running_first: bool = Field(
        True, description="Running requests go before waiting ones; false lets those due earlier go before them."
    )
    recalibrate_every: int = Field(256, ge=1, le=10**9, description="Completions between refits of score to length.")
    calibration_prior_weight: float = Field(
        200.0, ge=0, le=1e9, description="Completions that the manifest's calibration counts for."
    )

    @field_validator("tail_budget")
    @classmethod
    def _budget(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be at least 1, or 0 to leave it to the objective")
        return value

    @field_validator("prompt_cost")
    @classmethod
    def _cost(cls, value: float) -> float:
        if -1 < value < 0:
            raise ValueError("must be at least 0, or -1 to learn it from completions")
        return value

    @field_validator("slo")
    @classmethod
    def _target(cls, value: str) -> str:
        if value:
            parse_target(value)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> OrderSection:
        """Refuse what contradicts itself."""
        if not self.slo and "slo" in (self.objective, *self.class_objectives.values()):
            raise ValueError("the objective slo needs order.slo (RANKD_ORDER__SLO), such as '99 % within 30 s'")
        if self.class_objectives and Policy(self.policy) not in PATIENT:
            raise ValueError(f"order.class_objectives need order.policy boost or due, not {self.policy}")
        return self

    def objectives(self) -> list[Objective]:
        """What is ordered for, each once: the objective of all, then those of classes."""
        return list(dict.fromkeys(map(Objective, (self.objective, *self.class_objectives.values()))))
