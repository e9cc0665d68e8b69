"""The values that packages hand each other, and the keyed hash that stands for a request. No I/O, no clock.

Units: times are seconds since the epoch (float), lengths are output tokens.
A *score* has no unit; higher means a longer answer.
"""

from __future__ import annotations

import enum
import hashlib
import math
import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import Objective, Policy
from rankd_client.shape import RequestShape


class FinishReason(enum.Enum):
    """Why a request ended, or that it has not."""

    STOP = "stop"
    """The model ended its answer: the length is known."""
    LENGTH = "length"
    """Cut at max_tokens: the length is a lower bound, unless said to be complete."""
    ABORTED = "aborted"
    """The engine gave it up: a lower bound."""
    CANCELLED = "cancelled"
    """The caller went away: a lower bound."""
    IN_PROGRESS = "in_progress"
    """Still waiting or running: a lower bound that a later report replaces."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One outcome as an engine reports it, with the prediction echoed.

    ``tokens`` is the number of output tokens so far; ``complete`` says that the length is known
    rather than a lower bound (right-censored). ``final`` is false for progress.
    """

    request_id: str
    model: str
    ranker_version: str
    score: float
    tokens: int
    final: bool
    complete: bool
    arrival: float
    shadow_scores: tuple[tuple[str, float], ...] = ()
    """Candidates' scores that the prediction carried, by ranker version."""
    pilot_slot: int = 0
    """The pilot's slot that the prediction carried; 0 for none."""
    took: float | None = None
    """Seconds from its arrival to its end; None where that was not reported."""
    waited: float | None = None
    """Seconds from its arrival until it was first scheduled; None where that was not reported."""
    ran: float | None = None
    """Seconds from then to its end; None where that was not reported."""
    expected: float | None = None
    """Its length in tokens as it was expected; None where its prediction does not say."""
    tenant: str = ""
    """Whose request it is: ids are one tenant's own."""
    reporter: str = ""
    """The tenant of the credential that it was reported with; empty where that may act for any, or there is none."""
    prompt_tokens: int = 0
    """Tokens of its prompt, cached ones included; 0 where that was not reported."""
    cached_prompt_tokens: int = 0
    """Those that the engine did not read."""
    features: bytes = b""
    """What its prediction carried to be learned from, as it came; empty for nothing."""

    @property
    def uncached_prompt_tokens(self) -> int | None:
        """Prompt tokens that the engine read; None where its prompt was not counted."""
        return max(self.prompt_tokens - self.cached_prompt_tokens, 0) if self.prompt_tokens else None


class RequestHasher:
    """Keyed hashes by which a request is known again, and which mean nothing to who lacks the key (BLAKE2b, RFC 7693).

    What is hashed is who a request is: its id and its tenant, since ids are each tenant's own (``key``), and its served
    model where requests of several stand in one table (``digest``). Windows and pilots are of one model each and take
    ``key``; rows of the completion log take ``digest``.

    Who hashes has a key of its own, by how long hashes are to be known again. That of the windows comes from
    ``quality.snapshot_key`` and outlives a restart. That of the log comes from ``completion_log.join_key``, which all
    replicas share. Pilots draw theirs: nothing of them outlives the process. Shadows hash the same as ``digest`` does,
    by Python's own hash, since they look up every item of every answer. The score cache hashes a prompt, not a request.
    """

    def __init__(self, key: bytes | None = None) -> None:
        """Take a key of 1 to 64 bytes; None draws one."""
        key = secrets.token_bytes(16) if key is None else key
        # Keyed once and copied: two thirds of what a fresh hash takes.
        self._short = hashlib.blake2b(key=key, digest_size=8)
        self._long = hashlib.blake2b(key=key, digest_size=16)

    def key(self, tenant: str, request_id: str) -> int:
        """64 bits that stand for a request among those of one served model, uniform in 0 to 2^64 - 1."""
        state = self._short.copy()
        state.update(_identity(tenant, request_id).encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest())

    def tenant_key(self, tenant: str) -> int:
        """64 bits that stand for a tenant; 0 for the empty one."""
        return self.key(tenant, "") if tenant else 0

    def digest(self, model: str, tenant: str, request_id: str) -> bytes:
        """16 bytes that stand for a request among those of all served models."""
        state = self._long.copy()
        state.update(f"{model}\0{_identity(tenant, request_id)}".encode("utf-8", "surrogatepass"))
        return state.digest()


def _identity(tenant: str, request_id: str) -> str:
    # The length keeps apart what would read the same.
    return f"\0{len(tenant)}\0{tenant}{request_id}" if tenant else request_id


class GuardMode(enum.Enum):
    """What the guard says about a ranker."""

    WARMING_UP = "warming_up"
    RANKED = "ranked"
    FALLBACK = "fallback"


class Reason(enum.Enum):
    """Why an answer, or a part of it, is not ranked."""

    NONE = "none"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    RANKER_UNAVAILABLE = "ranker_unavailable"
    GUARD = "guard"
    REQUESTED = "requested"
    NEEDS_PROMPT = "needs_prompt"


FloatArray = NDArray[np.float64]


class Scored(NamedTuple):
    """What a ranker said of one prompt."""

    score: float
    """The ranker's own score."""
    text: bytes = b""
    """The part of its features that depends on the prompt alone (``rankd.adaptation``); empty where none is wanted."""


@dataclass(frozen=True, slots=True)
class PromptReach:
    """How much is read of a prompt: characters of its head and of its tail."""

    head: int
    tail: int

    def cut(self, prompt: str) -> str:
        """Leave out what is in between; whoever reads no more than this reads the same of what is left."""
        if len(prompt) <= self.head + self.tail + 1:
            return prompt
        return prompt[: self.head] + " " + prompt[len(prompt) - self.tail :]


@dataclass(slots=True)
class Constraints:
    """What rules on top of a policy ask of a queue, by column; None where no item says anything of it."""

    deadline: FloatArray | None = None
    """By the caller's clock; infinite where an item has none."""
    overtaken: NDArray[np.int64] | None = None
    priority_class: NDArray[np.int64] | None = None
    tenant: list[str] | None = None
    prompt_tokens: FloatArray | None = None
    cached_prompt_tokens: FloatArray | None = None
    running: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        *,
        deadline: list[float],
        overtaken: list[int],
        priority_class: list[int],
        tenant: list[str],
        prompt_tokens: list[int],
        cached_prompt_tokens: list[int],
        running: list[bool],
    ) -> Constraints:
        """Lists of one entry per item as columns; None for what no item says anything of."""
        return cls(
            deadline=np.array(deadline) if any(d < math.inf for d in deadline) else None,
            overtaken=np.array(overtaken, dtype=np.int64) if any(overtaken) else None,
            priority_class=np.array(priority_class, dtype=np.int64) if any(priority_class) else None,
            tenant=tenant if any(tenant) else None,
            prompt_tokens=np.array(prompt_tokens, dtype=np.float64) if any(prompt_tokens) else None,
            cached_prompt_tokens=np.array(cached_prompt_tokens, dtype=np.float64)
            if any(cached_prompt_tokens)
            else None,
            running=np.array(running) if any(running) else None,
        )


@dataclass(slots=True)
class TenantService:
    """What tenants were served, in output tokens, and their weights; those not named: 0 and 1."""

    served: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


ShadowScores = dict[int, list[tuple[str, float]]]
"""By item: what candidates said of it, (ranker version, score)."""


@dataclass(slots=True)
class RankQueue:
    """A queue as a caller sends it, by column; every column has one entry per item.

    ``now`` and ``arrival`` are seconds by the caller's clock, arrival never later than now. NaN means
    absent in ``score``, ``expected`` and ``p90``, 0 means unknown in ``max_tokens``.
    """

    model: str
    now: float
    policy: Policy | None
    ranker_version: str
    request_ids: list[str]
    prompts: list[str | None]
    arrival: FloatArray
    max_tokens: FloatArray
    generated: FloatArray
    score: FloatArray
    score_versions: list[str | None]
    expected: FloatArray
    p90: FloatArray
    echoes: bool
    """Whether any item brings a prediction."""
    constraints: Constraints
    tenant_service: TenantService
    backlog: int = 0
    """Requests that wait beside the queue, as the caller says."""
    objective: Objective | None = None
    """What the caller wants it ordered for; None for the configured objective."""
    learned: FloatArray | None = None
    """Learned scores of predictions, NaN where one carries none; None where none does."""
    shapes: list[RequestShape | None] | None = None
    """What is known of items beside their text; None where nothing is of any."""

    def tenant_of(self, index: int) -> str:
        """Whose an item is."""
        return "" if self.constraints.tenant is None else self.constraints.tenant[index]


@dataclass(slots=True)
class Answer:
    """The order of a queue, by column in the order of the *input*.

    ``fresh`` marks items whose prediction was made by this call; theirs are in ``score``, ``expected``,
    ``p50`` and ``p90`` (NaN, or None altogether, where unknown). Other items keep the prediction they came with, unless
    ``missing`` says why they have none.
    """

    order: NDArray[np.intp]
    serving_key: NDArray[np.int64]
    policy: Policy
    reason: Reason
    ranker_version: str
    score: FloatArray
    expected: FloatArray
    p50: FloatArray | None
    p90: FloatArray | None
    fresh: NDArray[np.bool_]
    missing: dict[int, Reason]
    shadow_scores: ShadowScores
    pilot_slots: dict[int, int]
    """By item: the pilot's slot in which it arrived, of those that are fresh and in one."""
    patience: float
    """Seconds per expected token that DUE or BOOST applied."""
    objective: Objective
    """What it is ordered for."""
    prompt_cost: float
    """What an uncached prompt token counted for, in output tokens."""
    timeless: bool
    """Whether the order stays the same as time passes."""
    scored_at: float
    """When scoring ended, by the event loop's clock."""
    features: dict[int, bytes] = field(default_factory=dict)
    """By item: what predictions of those that are fresh carry to be learned from."""
    learned: FloatArray | None = None
    """Learned scores, as ``score``; NaN where unknown, None where the ranker's own scores order."""
