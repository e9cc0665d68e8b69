"""How a candidate gets into service."""

from __future__ import annotations

from pydantic import Field

from rankd.settings.section import LONGEST, Section


class PromotionSection(Section):
    """How a candidate is judged against the ranker in service (docs/guides/promote.md)."""

    max_shadows: int = Field(
        2,
        ge=1,
        le=16,
        description="Rankers loaded beside the one in service and the one before, in the shadow or idle.",
    )
    shadow_queue: int = Field(
        1024, ge=1, le=2**24, description="Prompts that may wait for one shadow; further ones are left out."
    )
    shadow_pending: int = Field(
        16384, ge=1, le=2**24, description="Scores a shadow remembers until their completion is reported."
    )
    shadow_patience: float = Field(
        0.1,
        gt=0,
        le=LONGEST,
        description="A shadow, or a judgement, reads a prompt after so many seconds however busy it is.",
    )
    max_completions: int = Field(
        4096, ge=50, le=16384, description="Most recent completions that a judgement rests on."
    )
    min_completions: int = Field(200, ge=50, le=16384, description="Completions without which nothing is said.")
    min_decided_share: float = Field(
        0.8, ge=0, le=1, description="Share of pairs of known order without which nothing is said."
    )
    margin: float = Field(
        0.0, ge=-1, le=1, description="What the lower bound of the difference in tau must be above; negative tolerates."
    )
    follow: bool = Field(
        True,
        description="At a start serve what was promoted last in the registry, where no ranker is set. A promotion that "
        "cannot be written there is refused.",
    )
    keep: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Rankers that stay in the registry: after a promotion the oldest beyond these are removed. Never "
        "one that is loaded, in as many newest steps of the history, with an alias, or there for less than an hour. "
        "0 keeps all.",
    )
