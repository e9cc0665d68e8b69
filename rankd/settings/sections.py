"""The sections of the settings: what can be set, within which bounds, and what it means.

Every number has an upper bound too: beyond it a timer, grpc or the memory would fail, and none would name the setting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

LONGEST = 2_000_000.0
"""Seconds, 23 days: grpc counts milliseconds in 31 bits."""


_ADDRESS = re.compile(r"(\[(?P<ipv6>[^\[\]\s]+)\]|(?P<host>[^\[\]:\s]+)):(?P<port>[0-9]+)")


def split_address(address: str) -> tuple[str, int]:
    """Split ``HOST:PORT``; IPv6 hosts in brackets.

    Raises:
        ValueError: where it is neither.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return match["ipv6"] or match["host"], int(match["port"])


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LimitsSection(_Section):
    """What one caller may send."""

    max_message_bytes: int = Field(
        16 * 2**20,
        ge=4096,
        le=2**31 - 1,
        description="Largest request message, bytes; a larger one gets gRPC's own RESOURCE_EXHAUSTED, without details.",
    )
    max_items: int = Field(16384, ge=1, le=2**24, description="Most items in one queue or one report.")
    max_prompt_bytes: int = Field(2**20, ge=1, le=2**31 - 1, description="Longest prompt, UTF-8 bytes.")
    max_request_id_bytes: int = Field(256, ge=1, le=2**16, description="Longest request id, UTF-8 bytes.")
    max_name_bytes: int = Field(256, ge=1, le=2**16, description="Longest model or ranker name, UTF-8 bytes.")
    max_token_count: int = Field(
        10_000_000, ge=1, le=2**32 - 1, description="Largest believable output length, tokens."
    )
    max_stream_wait: float = Field(10.0, ge=0, le=LONGEST, description="Longest max_wait of a stream message, seconds.")
    max_streams: int = Field(256, ge=1, le=2**20, description="Most open RankStream calls.")
    max_watches: int = Field(256, ge=1, le=2**20, description="Most open WatchQuality calls.")
    max_streams_per_caller: int = Field(
        64, ge=1, le=2**20, description="Most open RankStream calls, and most open WatchQuality calls, of one caller."
    )
    max_stream_bytes: int = Field(
        64 * 2**20, ge=4096, le=2**40, description="Most memory for the queue of one stream, bytes."
    )
    calls_per_second: float = Field(
        0.0, ge=0, le=1e9, description="Calls and stream messages per second and caller; 0 is no limit."
    )
    call_burst: int = Field(
        100, ge=1, le=10**9, description="Calls and messages a caller may save up under calls_per_second."
    )
    keepalive_min_interval: float = Field(5.0, ge=0.1, le=LONGEST, description="Clients may ping this often, seconds.")
    max_connection_age: float = Field(
        600.0, ge=1, le=LONGEST, description="Connections are renewed after this, seconds."
    )


class ScoringSection(_Section):
    """How prompts become scores."""

    threads: int = Field(1, ge=1, le=256, description="Threads of the model (onnxruntime intra-op).")
    tokeniser_threads: int = Field(1, ge=1, le=64, description="Threads that tokenise.")
    max_batch_tokens: int = Field(
        0, ge=0, le=2**18, description="Padded tokens in one batch; 0 chooses by provider: cpu 128, cuda 16384."
    )
    max_batch_prompts: int = Field(512, ge=1, le=2**16, description="Most prompts in one batch.")
    max_padding_share: float = Field(0.2, ge=0, le=1, description="Most padding in a batch, as a share of its tokens.")
    max_queued_prompts: int = Field(16384, ge=1, le=2**24, description="Prompts that may wait for the model.")
    max_queued_tokens: int = Field(2**21, ge=1, le=2**32, description="Tokens that may wait for the model.")
    cache_entries: int = Field(65536, ge=0, le=2**26, description="Scores kept; prompts themselves are not.")
    deadline_margin: float = Field(
        0.01, ge=0, le=LONGEST, description="Answer this long before a call's deadline, seconds."
    )
    default_deadline: float = Field(60.0, gt=0, le=LONGEST, description="Deadline of calls that set none, seconds.")
    cuda_memory_limit: int = Field(4 * 2**30, ge=2**26, le=2**40, description="Most GPU memory of the model, bytes.")
    cuda_device: int = Field(0, ge=0, le=255, description="Which GPU.")
    nice: int = Field(
        10, ge=0, le=19, description="Lower priority of the model's threads on CPU (Linux), so that calls are answered."
    )


class OrderSection(_Section):
    """How scores become an order."""

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
        1.15,
        ge=1,
        le=1e6,
        description="How much larger than under arrival order the 99th percentile of latency may be when patience is "
        "tuned by replaying recent completions.",
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
        0.0, ge=0, le=1, description="Weight of the 90th percentile against the mean in what counts as a length."
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
        0.0, ge=0, le=1e6, description="Seconds per token that a running request takes; for deadlines."
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


class QualitySection(_Section):
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
        description="Pairs of served model and ranker version that are followed, 3.6 MB each; reports of others are "
        "accepted, and nothing is learned from them.",
    )
    forget_after: float = Field(
        86400.0,
        gt=0,
        le=LONGEST,
        description="Seconds without a report after which a window that is not pinned may make room for another; "
        "before that only one with fewer than guard.min_known completions, not pinned and not in fallback, does.",
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
    def _room(self) -> QualitySection:
        if self.arrivals < self.cohort:
            raise ValueError(f"arrivals {self.arrivals} must be at least cohort {self.cohort}")
        return self


class GuardSection(_Section):
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


class FleetSection(_Section):
    """Replicas that tell each other how well the ranker does (docs/guides/fleet.md)."""

    peers: str = Field(
        "",
        max_length=4096,
        description="The other replicas: dns:///NAME:PORT, whose addresses are all of them (a headless Service), or "
        "HOST:PORT, several with commas between. This replica itself may be among them. Empty is off.",
    )
    follow: bool = Field(
        True, description="Guards decide on the evidence of all replicas; false shows it and decides on one's own."
    )
    every: float = Field(2.0, ge=0.1, le=3600, description="Seconds between two times that peers are asked.")
    forget_after: float = Field(
        15.0, ge=0.5, le=LONGEST, description="Seconds after which a peer that does not answer counts no more."
    )
    max_peers: int = Field(64, ge=1, le=1024, description="Most peers that are asked.")
    token_file: Path | None = Field(
        None, description="File with the bearer token for peers, whose role must be quality; read at every time."
    )
    tls_roots: Path | None = Field(
        None,
        description="PEM roots that peers' certificates must chain to. Empty: no TLS. Where tls.client_ca is set, this "
        "replica shows its own tls.certificate.",
    )
    tls_name: str = Field(
        "", description="Name that peers' certificates carry, where it is not the address they are asked at."
    )

    @field_validator("peers")
    @classmethod
    def _targets(cls, value: str) -> str:
        peer_targets(value)
        return value

    @model_validator(mode="after")
    def _longer(self) -> FleetSection:
        if self.forget_after < 2 * self.every:
            raise ValueError("forget_after must be at least twice every, or one lost answer makes a peer a lost one")
        return self


def peer_targets(peers: str) -> tuple[bool, list[tuple[str, int]]]:
    """What ``fleet.peers`` names: whether to look up all addresses of one name, and names with their ports.

    Raises:
        ValueError: saying what is wrong.
    """
    every_address = peers.startswith("dns:///")
    names = [n.strip() for n in peers.removeprefix("dns:///").split(",") if n.strip()]
    if every_address and len(names) != 1:
        raise ValueError("dns:/// goes with one name, such as dns:///rankd-headless:50051")
    return every_address, [split_address(name) for name in names]


class PromotionSection(_Section):
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


class PageSection(_Section):
    """What the page at ``/`` of the metrics port keeps and shows (docs/guides/page.md)."""

    every: float = Field(5.0, ge=1, le=3600, description="Seconds between two points of the page's short span.")
    long_every: float = Field(180.0, ge=1, le=86400, description="Seconds between two points of its long span.")
    samples: int = Field(
        240,
        ge=2,
        le=2000,
        description="Points of each span: 20 minutes and 12 hours by default. 113 bytes each, and as much again for "
        "every window that is followed: 1.8 MB with quality.max_windows = 32.",
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


class CompletionLogSection(_Section):
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


class TlsSection(_Section):
    """TLS by files; all empty is plaintext."""

    certificate: Path | None = Field(None, description="PEM certificate chain of the server.")
    private_key: Path | None = Field(None, description="PEM key of the server.")
    client_ca: Path | None = Field(None, description="PEM roots that client certificates must chain to (mutual TLS).")

    @model_validator(mode="after")
    def _together(self) -> TlsSection:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("tls.certificate and tls.private_key go together: set both or neither")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("tls.client_ca needs tls.certificate and tls.private_key")
        return self


class AuthSection(_Section):
    """Who may call (docs/guides/security.md)."""

    file: Path | None = Field(
        None,
        description="TOML file of tokens, names of client certificates and quotas of tenants, read again within two "
        "seconds when it changes.",
    )
    anonymous: bool | Literal["auto"] = Field(
        "auto",
        description="Whether calls without a credential are answered. auto: only where there is no auth.file, and on "
        "loopback only. true: everywhere; with an auth.file not for administration.",
    )
    plaintext: bool = Field(
        False,
        description="Take tokens without TLS on listeners that are not on loopback, as where a mesh or a proxy speaks "
        "TLS for this daemon.",
    )


class SigningSection(_Section):
    """Whether predictions prove that this daemon made them (docs/guides/security.md)."""

    file: Path | None = Field(
        None,
        description="TOML file of keys that replicas share, the signing one first, read again within two seconds when "
        "it changes. Without it nothing is signed.",
    )
