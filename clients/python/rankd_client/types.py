"""What callers pass in and get back: plain values, none of them a protobuf message but for the opaque prediction."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

from rankd_client.calibration import Calibration
from rankd_client.ordering import AdaptiveRules, Policy, Rules
from rankd_client.v1.prediction_pb2 import Prediction

MAX_ID_BYTES = 256
"""Longest request id, bytes of UTF-8; the daemon's default limit too."""

Finish = Literal["stop", "length", "aborted", "cancelled", "in_progress"]


class RankdUnavailableError(Exception):
    """The daemon could not answer a question that has no fallback, such as its quality."""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS by PEM bytes. Without roots the system's are trusted; a certificate and its key are for mutual TLS."""

    root_certificates: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A request of the queue.

    ``arrival`` and ``deadline`` in seconds since the epoch; default: now, and none. ``overtaken`` counts the requests
    that arrived later and were served before. A lower ``priority_class`` is more urgent. ``running`` requests go first.
    """

    prompt: str | None = None
    request_id: str | None = None
    prediction: Prediction | None = None
    arrival: float | None = None
    max_tokens: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    deadline: float | None = None
    overtaken: int = 0
    priority_class: int = 0
    tenant: str = ""
    running: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request of a stream's queue is.

    ``tokens`` produced so far; whether it is ``running``, False for one that was preempted; how many ``overtaken`` it.
    None: as before.
    """

    tokens: int
    running: bool | None = None
    overtaken: int | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A request in its place: ``position`` counts from 1, ``index`` is its place in what was passed in.

    ``serving_key`` is lower for what is served first and fits an engine's integer priority. ``score`` and
    ``expected_tokens`` are None, and ``reason`` says why, where there is none.
    """

    position: int
    request_id: str
    index: int
    serving_key: int
    prediction: Prediction | None
    reason: str
    needs_prompt: bool = False

    @property
    def score(self) -> float | None:
        """The ranker's score; higher means a longer answer."""
        return self.prediction.score if self.prediction is not None else None

    @property
    def expected_tokens(self) -> float | None:
        """The expected length of the answer in tokens."""
        if self.prediction is None or not self.prediction.HasField("expected_token_count"):
            return None
        return self.prediction.expected_token_count


@dataclass(frozen=True, slots=True)
class RankedQueue(Sequence[Ranked]):
    """A queue in serving order.

    ``reason`` is empty where all of it is ranked; else a reason of the daemon (``deadline``, ``overloaded``,
    ``ranker_unavailable``, ``guard``, ``requested``, ``needs_prompt``) or, where ``failed``, of the client
    (``unavailable``, ``timeout``, ``bad_answer``, ``error:<CODE>``).
    """

    items: tuple[Ranked, ...]
    policy: Policy
    reason: str
    ranker_version: str
    failed: bool = False

    @property
    def order(self) -> list[int]:
        """Indices of what was passed in, the first to serve first."""
        return [r.index for r in self.items]

    @overload
    def __getitem__(self, at: int) -> Ranked: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Ranked]: ...
    def __getitem__(self, at: int | slice) -> Ranked | Sequence[Ranked]:
        return self.items[at]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a request really produced; ``prediction`` is that of its rank answer. Times in seconds."""

    request_id: str
    prediction: Prediction | None
    output_tokens: int
    finish_reason: Finish = "stop"
    length_is_complete: bool = False
    arrival: float | None = None
    queue_seconds: float | None = None
    total_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of a report. ``rejected`` holds (index, reason, description); ``skipped`` had no prediction.

    ``error`` says why nothing, or not all of it, reached the daemon; empty where all did.
    """

    accepted: int = 0
    duplicate: int = 0
    rejected: tuple[tuple[int, str, str], ...] = ()
    skipped: int = 0
    error: str = ""


@dataclass(slots=True)
class ClientStats:
    """What the client went through; safe to read at any time."""

    calls: int = 0
    ranked: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
    last_error: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GuardState:
    """The guard of one model and ranker version. Times in seconds since the epoch."""

    mode: str
    ranking: bool
    reason: str
    since: float | None
    pinned_until: float | None
    transitions: int


@dataclass(frozen=True, slots=True)
class FleetState:
    """How a guard stands to the fleet's, where replicas tell each other.

    ``followed``: the fleet's evidence decides, and not the replica's own. ``leading``: this replica decides for all.
    ``peers`` are heard, ``replicas`` (this one included) have evidence in ``tau``.
    """

    followed: bool
    leading: bool
    peers: int
    replicas: int
    tau: Estimate | None


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """Live quality of one ranker version on one served model; None where it is undefined."""

    model: str
    ranker_version: str
    tau: Estimate | None
    finished_tau: Estimate | None
    realised_gain: Estimate | None
    head_tau: float | None
    tail_tau: float | None
    decided_pair_share: float
    horizon_tokens: int
    cohort_size: int
    window_size: int
    progress_seen: bool
    completions: int
    open: int
    guard: GuardState
    fleet: FleetState | None = None


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """What orders queues now; enough to order without asking. ``patience`` in seconds per token.

    ``rules`` gives the rules for a backlog that the caller knows, the same as the daemon's.
    """

    model: str
    ranker_version: str
    policy: Policy
    reason: str
    patience: float
    calibration: Calibration | None
    trust: float = 0.0
    """In the ranker, on this model, 0 to 1."""
    adaptive_rules: AdaptiveRules | None = None
    """None from a daemon that publishes none."""
    tokens_per_second: float | None = None
    """That recent completions were made at."""
    mean_wait: float | None = None
    """Seconds that they waited."""
    tuned_patience: float | None = None
    """Seconds per token that replaying recent traffic found."""

    def rules(self, backlog_tokens: float = 0.0) -> Rules:
        """The rules for now.

        Args:
            backlog_tokens: output tokens still to be made for what waits, as far as the caller knows.
        """
        prior = self.calibration.mean_expected if self.calibration is not None else None
        if self.adaptive_rules is None:
            return Rules(self.policy, patience=self.patience, prior_expected=prior)
        rate = self.tokens_per_second
        drains = [s for s in (backlog_tokens / rate if rate else None, self.mean_wait) if s is not None]
        trust = 0.0 if self.policy is Policy.FCFS else self.trust
        return self.adaptive_rules.at(trust, max(drains, default=0.0) or None, prior, self.tuned_patience)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The daemon itself."""

    rankd_version: str
    ranker_version: str
    provider: str
    started_at: float
    rank_calls: int
    items: int
    unscored_items: int
    scored_prompts: int
    cached_prompts: int
    queued_prompts: int
    failed_batches: int
    draining: bool


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All that a daemon says of its quality."""

    service: ServiceStatus
    qualities: tuple[ModelQuality, ...]
    policies: tuple[PolicyInForce, ...]
