"""Items of a message as columns, and fields that many messages share. Errors name the field."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rankd_client.ordering import Objective, Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.errors import FieldViolation, InvalidRequestError, NotFoundError
from rankd.settings import LimitsSection, OrderSection
from rankd.types import Constraints, RankQueue, Reason, TenantService

POLICY_TO_PROTO = {
    Policy.FCFS: prediction_pb2.POLICY_FCFS,
    Policy.SCORE: prediction_pb2.POLICY_SCORE,
    Policy.DUE: prediction_pb2.POLICY_DUE,
    Policy.AGED: prediction_pb2.POLICY_AGED,
    Policy.BOOST: prediction_pb2.POLICY_BOOST,
    Policy.LONGEST: prediction_pb2.POLICY_LONGEST,
}
OBJECTIVE_TO_PROTO = {
    Objective.TAIL: prediction_pb2.OBJECTIVE_TAIL,
    Objective.BALANCED: prediction_pb2.OBJECTIVE_BALANCED,
    Objective.MEAN: prediction_pb2.OBJECTIVE_MEAN,
    Objective.SLO: prediction_pb2.OBJECTIVE_SLO,
    Objective.MAKESPAN: prediction_pb2.OBJECTIVE_MAKESPAN,
    Objective.FIRST: prediction_pb2.OBJECTIVE_FIRST,
}
_OBJECTIVES: dict[int, Objective] = {v: k for k, v in OBJECTIVE_TO_PROTO.items()}
_POLICIES: dict[int, Policy] = {v: k for k, v in POLICY_TO_PROTO.items()}
REASON_TO_PROTO = {
    Reason.NONE: prediction_pb2.FALLBACK_REASON_UNSPECIFIED,
    Reason.DEADLINE: prediction_pb2.FALLBACK_REASON_DEADLINE,
    Reason.OVERLOADED: prediction_pb2.FALLBACK_REASON_OVERLOADED,
    Reason.RANKER_UNAVAILABLE: prediction_pb2.FALLBACK_REASON_RANKER_UNAVAILABLE,
    Reason.GUARD: prediction_pb2.FALLBACK_REASON_GUARD,
    Reason.REQUESTED: prediction_pb2.FALLBACK_REASON_REQUESTED,
    Reason.NEEDS_PROMPT: prediction_pb2.FALLBACK_REASON_NEEDS_PROMPT,
}

_MOST_VIOLATIONS = 10
"""Violations listed in one error; a hostile message must not make a large answer."""
_LATEST_SECOND = 253402300799  # 9999-12-31, the end of google.protobuf.Timestamp's range
_EARLIEST_SECOND = -62135596800  # 0001-01-01
LONGEST_SECOND = 315576000000  # the end of google.protobuf.Duration's range
_NAN = math.nan
MOST_SHADOW_SCORES = 16
"""Of one prediction, as the wire contract has it."""


class Violations:
    """Collects wrong fields, a bounded number of them."""

    def __init__(self) -> None:
        """Start without any."""
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note one."""
        if len(self.found) < _MOST_VIOLATIONS:
            self.found.append(FieldViolation(field, description))

    def check(self) -> None:
        """Raise what was found.

        Raises:
            InvalidRequestError: where anything was.
        """
        if self.found:
            raise InvalidRequestError(self.found)


def too_long(text: str, limit: int) -> bool:
    """Whether ``text`` takes more than ``limit`` bytes of UTF-8, without encoding it where that is plain to see."""
    if len(text) > limit:
        return True
    return 4 * len(text) > limit and not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > limit


def seconds_of(stamp: Timestamp, field: str, violations: Violations) -> float:
    """Seconds since the epoch."""
    if not (_EARLIEST_SECOND <= stamp.seconds <= _LATEST_SECOND and 0 <= stamp.nanos < 1_000_000_000):
        violations.add(field, "is outside of years 1 to 9999, or its nanos outside of 0 to 999999999")
        return 0.0
    return stamp.seconds + stamp.nanos * 1e-9


def duration_of(duration: Duration, field: str, violations: Violations) -> float:
    """A duration in seconds, at least 0."""
    if not (0 <= duration.seconds <= LONGEST_SECOND and 0 <= duration.nanos < 1_000_000_000):
        violations.add(field, "must be at least 0, its nanos in 0 to 999999999")
        return 0.0
    return duration.seconds + duration.nanos * 1e-9


def timestamp(seconds: float) -> Timestamp:
    """A Timestamp of seconds since the epoch."""
    whole = math.floor(seconds)
    return Timestamp(seconds=whole, nanos=min(999_999_999, int((seconds - whole) * 1e9)))


def to_duration(seconds: float) -> Duration:
    """A Duration of seconds, at least 0."""
    whole = math.floor(seconds)
    return Duration(seconds=whole, nanos=min(999_999_999, round((seconds - whole) * 1e9)))


def now_of(message: Any, violations: Violations) -> float:
    """The caller's present time; the daemon's where it is not given."""
    return seconds_of(message.now, "now", violations) if message.HasField("now") else time.time()


def policy_of(value: int, field: str, violations: Violations) -> Policy | None:
    """A policy by its number; None for the daemon's own."""
    if value == prediction_pb2.POLICY_UNSPECIFIED:
        return None
    policy = _POLICIES.get(value)
    if policy is None:
        violations.add(
            field,
            f"{value} is no policy of this daemon; it has FCFS (1), SCORE (2), DUE (3), AGED (4), BOOST (5), "
            "LONGEST (6)",
        )
    return policy


def objective_of(value: int, field: str, order: OrderSection, violations: Violations) -> Objective | None:
    """An objective by its number; None for the daemon's own."""
    if value == prediction_pb2.OBJECTIVE_UNSPECIFIED:
        return None
    objective = _OBJECTIVES.get(value)
    if objective is None:
        violations.add(
            field,
            f"{value} is no objective of this daemon; it has TAIL (1), BALANCED (2), MEAN (3), SLO (4), MAKESPAN (5), "
            "FIRST (6)",
        )
    elif objective is Objective.SLO and not order.slo:
        violations.add(field, "SLO needs a target: set order.slo, such as '99 % within 30 s'")
    return objective


def name_of(value: str, field: str, limits: LimitsSection, violations: Violations) -> str:
    """A model's or ranker's name."""
    if too_long(value, limits.max_name_bytes):
        violations.add(field, f"is longer than limits.max_name_bytes = {limits.max_name_bytes}")
    return value


class RequestColumns:
    """Items of a queue, taken apart into columns. Filled item by item; ``index`` is for messages."""

    def __init__(self, limits: LimitsSection, violations: Violations, now: float) -> None:
        """Start empty."""
        self._limits = limits
        self._violations = violations
        self._now = now
        self.request_ids: list[str] = []
        self.prompts: list[str | None] = []
        self.arrival: list[float] = []
        self.max_tokens: list[int] = []
        self.generated: list[int] = []
        self.score: list[float] = []
        self.versions: list[str | None] = []
        self.expected: list[float] = []
        self.p90: list[float] = []
        self.echoes = False
        self.constraints = ConstraintColumns(limits, violations)

    def add(self, item: rank_pb2.RankItem, field: str, index: int) -> None:
        """Take one item apart. This is the hot loop of a long queue: a few microseconds an item."""
        request_id = item.request_id
        if not request_id or too_long(request_id, self._limits.max_request_id_bytes):
            self._violations.add(
                f"{field}[{index}].request_id",
                f"must have 1 to {self._limits.max_request_id_bytes} bytes (limits.max_request_id_bytes)",
            )
        self.request_ids.append(request_id)
        if item.HasField("prompt"):
            prompt = item.prompt
            if too_long(prompt, self._limits.max_prompt_bytes):
                self._violations.add(
                    f"{field}[{index}].prompt",
                    f"is longer than limits.max_prompt_bytes = {self._limits.max_prompt_bytes}",
                )
            self.prompts.append(prompt)
        else:
            self.prompts.append(None)
        arrival = self._now
        if item.HasField("arrival_time"):
            stamp = item.arrival_time
            seconds, nanos = stamp.seconds, stamp.nanos
            if _EARLIEST_SECOND <= seconds <= _LATEST_SECOND and 0 <= nanos < 1_000_000_000:
                arrival = min(seconds + nanos * 1e-9, arrival)
            else:
                seconds_of(stamp, f"{field}[{index}].arrival_time", self._violations)
        self.arrival.append(arrival)
        self.max_tokens.append(item.max_token_count)
        self.generated.append(item.generated_token_count)
        self.constraints.add(item, field, index)
        if item.HasField("prediction"):
            self._add_prediction(item.prediction, field, index)
        else:
            self.score.append(_NAN)
            self.versions.append(None)
            self.expected.append(_NAN)
            self.p90.append(_NAN)

    def _add_prediction(self, prediction: prediction_pb2.Prediction, field: str, index: int) -> None:
        score = prediction.score
        if not math.isfinite(score):
            self._violations.add(f"{field}[{index}].prediction.score", "must be finite: echo the prediction unchanged")
        expected = _NAN
        if prediction.HasField("expected_token_count"):
            expected = prediction.expected_token_count
            if not 0 <= expected <= self._limits.max_token_count:
                self._violations.add(
                    f"{field}[{index}].prediction.expected_token_count",
                    f"must be in 0 to limits.max_token_count = {self._limits.max_token_count}: echo it unchanged",
                )
        self.echoes = True
        self.score.append(score)
        self.versions.append(prediction.ranker_version)
        self.expected.append(expected)
        self.p90.append(self._p90(prediction, field, index))

    def _p90(self, prediction: prediction_pb2.Prediction, field: str, index: int) -> float:
        if not prediction.HasField("p90_token_count"):
            return _NAN
        if not 0 <= prediction.p90_token_count <= self._limits.max_token_count:
            self._violations.add(
                f"{field}[{index}].prediction.p90_token_count",
                f"must be in 0 to limits.max_token_count = {self._limits.max_token_count}: echo it unchanged",
            )
        return prediction.p90_token_count

    def queue(self, model: str, policy: Policy | None, ranker_version: str, tenant_service: TenantService) -> RankQueue:
        """The queue; the caller has checked the violations."""
        return RankQueue(
            model=model,
            now=self._now,
            policy=policy,
            ranker_version=ranker_version,
            request_ids=self.request_ids,
            prompts=self.prompts,
            arrival=np.array(self.arrival, dtype=np.float64),
            max_tokens=np.array(self.max_tokens, dtype=np.float64),
            generated=np.array(self.generated, dtype=np.float64),
            score=np.array(self.score, dtype=np.float64),
            score_versions=self.versions,
            expected=np.array(self.expected, dtype=np.float64),
            p90=np.array(self.p90, dtype=np.float64),
            echoes=self.echoes,
            constraints=self.constraints.columns(),
            tenant_service=tenant_service,
        )


class ConstraintColumns:
    """What rules on top of a policy ask of items, by column."""

    def __init__(self, limits: LimitsSection, violations: Violations) -> None:
        """Start empty."""
        self._limits = limits
        self._violations = violations
        self.deadline: list[float] = []
        self.overtaken: list[int] = []
        self.priority_class: list[int] = []
        self.tenant: list[str] = []
        self.prompt_tokens: list[int] = []
        self.cached_prompt_tokens: list[int] = []
        self.running: list[bool] = []

    def add(self, item: rank_pb2.RankItem, field: str, index: int) -> None:
        """Take one item apart."""
        deadline = math.inf
        if item.HasField("deadline"):
            deadline = seconds_of(item.deadline, f"{field}[{index}].deadline", self._violations)
        self.deadline.append(deadline)
        self.overtaken.append(item.overtaken_count)
        self.priority_class.append(item.priority_class)
        tenant = item.tenant
        if tenant and too_long(tenant, self._limits.max_name_bytes):
            self._violations.add(
                f"{field}[{index}].tenant", f"is longer than limits.max_name_bytes = {self._limits.max_name_bytes}"
            )
        self.tenant.append(tenant)
        self.prompt_tokens.append(item.prompt_token_count)
        self.cached_prompt_tokens.append(item.cached_prompt_token_count)
        self.running.append(item.running)

    def columns(self) -> Constraints:
        """As arrays; None for what no item says anything of."""
        return Constraints.of(
            deadline=self.deadline,
            overtaken=self.overtaken,
            priority_class=self.priority_class,
            tenant=self.tenant,
            prompt_tokens=self.prompt_tokens,
            cached_prompt_tokens=self.cached_prompt_tokens,
            running=self.running,
        )


def check_count(items: Sized, field: str, limits: LimitsSection, violations: Violations) -> None:
    """Refuse more items than one message may have."""
    if len(items) > limits.max_items:
        violations.add(field, f"has {len(items)} entries, over limits.max_items = {limits.max_items}: split the queue")


def check_unique(request_ids: Sequence[str], field: str, violations: Violations) -> None:
    """Refuse an id that stands twice; the message names positions, not the id."""
    if len(set(request_ids)) == len(request_ids):
        return
    first: dict[str, int] = {}
    for index, request_id in enumerate(request_ids):
        earlier = first.setdefault(request_id, index)
        if earlier != index:
            violations.add(
                f"{field}[{index}].request_id", f"is the same as that of {field}[{earlier}]: ids must be unique"
            )


def check_model(model: str, allowed: tuple[str, ...]) -> None:
    """Refuse a model that the settings do not list; an empty list accepts any.

    Raises:
        NotFoundError: naming the setting.
    """
    if allowed and model not in allowed:
        raise NotFoundError("model: not one of the served models in the setting quality.models")
