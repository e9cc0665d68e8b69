"""What is kept for people to look at, and for retraining."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from rankd.settings.section import LONGEST, Section


class HttpSection(Section):
    """The metrics port: metrics, probes and the page. Each connection is one request."""

    max_connections: int = Field(
        128,
        ge=4,
        le=4096,
        description="Most connections, and at most an eighth of the files that the process may have open. Beyond it, "
        "one that asked nothing yet, or does not read its answer, is ended for a new one. A quarter is for probes "
        "alone, whoever reads metrics and pages.",
    )
    request_timeout: float = Field(
        5.0, gt=0, le=3600, description="Seconds for a whole request: silent and slow connections end."
    )
    answer_timeout: float = Field(
        10.0, gt=0, le=3600, description="Seconds for an answer to be made and read: who does not read is cut."
    )


class PageSection(Section):
    """What the page at ``/`` of the metrics port keeps and shows (docs/guides/page.md)."""

    every: float = Field(5.0, ge=1, le=3600, description="Seconds between two points of the page's short span.")
    long_every: float = Field(180.0, ge=1, le=86400, description="Seconds between two points of its long span.")
    samples: int = Field(
        240,
        ge=2,
        le=2000,
        description="Points of each span: 20 minutes and 12 hours by default. 105 bytes each, and 161 for every "
        "window that is followed: 2.5 MB with quality.max_windows = 32.",
    )
    windows: int = Field(
        32,
        ge=1,
        le=1000,
        description="Most pairs of served model and ranker version that the page lists: those in service first, then "
        "those with the most completions.",
    )
    tenants: int = Field(
        20, ge=0, le=1000, description="Most tenants that the page names, others are added up; 0 names none."
    )
    events: int = Field(
        100,
        ge=0,
        le=1000,
        description="Most events that are kept for marks on charts: pilots, promotions, fallbacks. The latest stay.",
    )
    ceiling: float = Field(
        0.66,
        ge=0,
        le=1,
        description="Tau that hardly any ranker passes, drawn on the page: how well one answer's length orders another "
        "answer's to the same prompt. The default is the middle of .63 to .69, measured on public data; `rankd "
        "evaluate` tells yours where rows have samples. 0 draws none.",
    )

    @model_validator(mode="after")
    def _spans(self) -> PageSection:
        if self.long_every < self.every:
            raise ValueError(f"long_every {self.long_every:g} must be at least every {self.every:g}")
        return self


class CompletionLogSection(Section):
    """What is kept of requests for retraining (docs/guides/completion-log.md)."""

    directory: str = Field(
        "", description="Directory, or object-store URL (s3://, gs://, abfs://), of the log; empty is off."
    )
    prompt_share: float = Field(1.0, ge=0, le=1, description="Share of requests whose prompt is logged; 0 is none.")
    prompt_characters: int = Field(
        65536, ge=2, le=2**24, description="Characters kept of a prompt, half from its head and half from its tail."
    )
    join_key: SecretStr = Field(
        SecretStr(""),
        description="Secret that replicas share, under which request ids are hashed. Empty: whoever knows an id can "
        "find its rows.",
    )
    flush_seconds: float = Field(
        30.0, gt=0, le=LONGEST, description="Longest time a row waits in memory: what kill -9 loses."
    )
    flush_rows: int = Field(20_000, ge=1, le=10**8, description="Rows that are written before that time.")
    flush_bytes: int = Field(16 * 2**20, ge=1, le=2**34, description="Bytes that are written before that time.")
    queue_bytes: int = Field(
        64 * 2**20,
        ge=4096,
        le=2**40,
        description="Memory for rows that cannot be written yet; further rows are dropped.",
    )
    retry_seconds: float = Field(
        60.0, gt=0, le=LONGEST, description="Longest time between two tries to write after a failure."
    )
    keep_days: float = Field(30.0, gt=0, le=36500, description="Segments that are older are deleted.")
    max_bytes: int = Field(
        10 * 2**30, ge=1, le=2**60, description="The oldest segments are deleted beyond this, all replicas'."
    )
