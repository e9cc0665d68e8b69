"""Fields that many messages share, and what is checked of them. Errors name the field."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence, Sized
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rankd_client.ordering import Objective, Policy
from rankd_client.v1 import prediction_pb2

from rankd.errors import FieldViolation, InvalidRequestError, NotFoundError
from rankd.settings import LimitsSection, OrderSection
from rankd.types import Reason

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
LATEST_SECOND = 253402300799  # 9999-12-31, the end of google.protobuf.Timestamp's range
EARLIEST_SECOND = -62135596800  # 0001-01-01
LONGEST_SECOND = 315576000000  # the end of google.protobuf.Duration's range
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
    if not (EARLIEST_SECOND <= stamp.seconds <= LATEST_SECOND and 0 <= stamp.nanos < 1_000_000_000):
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
