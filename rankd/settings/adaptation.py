"""What is learned of the traffic beside the ranker (docs/science/adaptation.md)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from rankd.settings.section import LONGEST, Section


class AdaptSection(Section):
    """How the daemon learns the traffic that it serves."""

    enabled: bool = Field(
        True,
        description="Learn from completions how long answers are, beside what the ranker says, and order by it where "
        "that was proven to be better. False: nothing is learned, and predictions carry no features.",
    )
    text: bool = Field(
        True,
        description="Learn from the text of prompts too: predictions then carry hashed words and a quantised embedding "
        "of it. False: only from scores and from the shape of requests.",
    )
    completions: int = Field(
        4096,
        ge=256,
        le=65536,
        description="Latest completions that are learned from, of each served model and ranker version; they are kept "
        "in memory as features, 0.7 kB each.",
    )
    forget_after: float = Field(
        604800.0, ge=60, le=LONGEST, description="Seconds after which a completion is not learned from any more."
    )
    min_completions: int = Field(
        100, ge=32, le=1024, description="Completions of known length before anything learned may order."
    )
    key: SecretStr = Field(
        SecretStr(""),
        description="Secret that words and names are hashed with in predictions; all replicas of a fleet need the "
        "same. Empty: quality.snapshot_key is used, and where that is empty too, whoever sees a prediction can find "
        "out by trying which words a prompt had.",
    )
