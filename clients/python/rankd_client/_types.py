"""What callers pass in and get back: plain values, none of them a protobuf message but for the opaque prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from rankd_client.ordering import Objective, Policy
from rankd_client.shape import RequestShape
from rankd_client.v1.prediction_pb2 import Prediction

MAX_ID_BYTES = 256
"""Longest request id, bytes of UTF-8; the daemon's default limit too."""

Finish = Literal["stop", "length", "aborted", "cancelled", "in_progress"]


@dataclass(frozen=True, slots=True)
class Item:
    """A request of the queue.

    ``arrival`` and ``deadline`` in seconds since the epoch; default: now, and none. ``prompt_tokens`` counts all of the
    prompt, ``cached_prompt_tokens`` what of it the engine's prefix cache holds. ``overtaken`` counts the requests
    that arrived later and were served before. A lower ``priority_class`` is more urgent. ``running`` requests go first.
    ``shape`` is what the request's body says beside its text: the daemon learns from it how long answers are.
    """

    prompt: str | None = None
    request_id: str | None = None
    prediction: Prediction | None = None
    arrival: float | None = None
    max_tokens: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    deadline: float | None = None
    overtaken: int = 0
    priority_class: int = 0
    tenant: str = ""
    running: bool = False
    shape: RequestShape | None = None


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
    objective: Objective | None = None
    """What it is ordered for; None where ``failed``, or by a daemon that knows of none."""
    prompt_token_cost: float = 0.0
    """What an uncached prompt token counted for in expected work, in output tokens."""

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
    """What a request really produced; ``prediction`` is that of its rank answer. Times in seconds.

    ``model`` is the served one that it was ranked for; None is the client's. ``prompt_tokens`` counts all of its
    prompt, 0 where that is not known, ``cached_prompt_tokens`` what of it the engine did not read.
    """

    request_id: str
    prediction: Prediction | None
    output_tokens: int
    finish_reason: Finish = "stop"
    length_is_complete: bool = False
    arrival: float | None = None
    queue_seconds: float | None = None
    total_seconds: float | None = None
    model: str | None = None
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0


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
