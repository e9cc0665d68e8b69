"""From a report's message to a completion. A report at fault is refused alone, with the field at fault."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rankd_client.v1 import completion_pb2, prediction_pb2

from rankd.adaptation.features import MOST_BYTES
from rankd.auth import Caller
from rankd.clock import CLOCK
from rankd.settings import LimitsSection
from rankd.transport.convert.request import MOST_SHADOW_SCORES, Violations, duration_of, seconds_of, too_long
from rankd.types import Completion, FinishReason

_FINISH_REASONS: dict[int, FinishReason] = {
    completion_pb2.FINISH_REASON_STOP: FinishReason.STOP,
    completion_pb2.FINISH_REASON_LENGTH: FinishReason.LENGTH,
    completion_pb2.FINISH_REASON_ABORTED: FinishReason.ABORTED,
    completion_pb2.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
    completion_pb2.FINISH_REASON_IN_PROGRESS: FinishReason.IN_PROGRESS,
}


class RejectedError(Exception):
    """One report is not taken."""

    def __init__(self, reason: completion_pb2.RejectionReason, description: str) -> None:
        """Keep why."""
        super().__init__(description)
        self.reason = reason
        self.description = description


def check_identity(message: completion_pb2.Completion, limits: LimitsSection) -> None:
    """Refuse a report that does not say of which request it is, and what was predicted for that.

    Raises:
        RejectedError: with the field at fault.
    """
    if not message.request_id or too_long(message.request_id, limits.max_request_id_bytes):
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_REQUEST_ID,
            f"request_id must have 1 to {limits.max_request_id_bytes} bytes",
        )
    if not message.HasField("prediction") or not math.isfinite(message.prediction.score):
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_PREDICTION,
            "prediction must be the one of the Rank answer, unchanged, with a finite score",
        )
    if too_long(message.prediction.tenant, limits.max_name_bytes):
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_PREDICTION,
            f"prediction.tenant is longer than limits.max_name_bytes = {limits.max_name_bytes}",
        )
    _check_learned(message.prediction)


def _check_learned(prediction: prediction_pb2.Prediction) -> None:
    """Refuse what no daemon gave. Features that cannot be read are taken: a report is of use without them, too.

    Raises:
        RejectedError: with the field at fault.
    """
    if len(prediction.features) > MOST_BYTES:
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_PREDICTION,
            f"prediction.features is longer than {MOST_BYTES} bytes: echo it unchanged",
        )
    if not math.isfinite(prediction.learned_score):
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_PREDICTION,
            "prediction.learned_score must be finite: echo the prediction unchanged",
        )


def finish_of(message: completion_pb2.Completion) -> FinishReason:
    """How a request ended, or that it has not.

    Raises:
        RejectedError: it does not say.
    """
    finish = _FINISH_REASONS.get(message.finish_reason)
    if finish is None:
        raise RejectedError(
            completion_pb2.REJECTION_REASON_UNKNOWN_FINISH_REASON,
            "finish_reason must be STOP, LENGTH, ABORTED, CANCELLED or IN_PROGRESS",
        )
    return finish


def completion_of(
    message: completion_pb2.Completion,
    model: str,
    caller: Caller,
    *,
    caller_now: float,
    now: float,
    limits: LimitsSection,
) -> tuple[Completion, FinishReason]:
    """A report, and how its request ended. ``check_identity`` has passed it.

    Args:
        message: the report.
        model: the served model.
        caller: who reports.
        caller_now: seconds since the epoch, by the caller's clock.
        now: seconds by the daemon's own clock.
        limits: of what is believed.

    Raises:
        RejectedError: with the field at fault.
    """
    _check_counts(message, limits)
    finish = finish_of(message)
    times = _times_of(message, caller_now, limits)
    prediction = message.prediction
    completion = Completion(
        request_id=message.request_id,
        model=model,
        ranker_version=prediction.ranker_version,
        score=prediction.score,
        tokens=message.output_token_count,
        final=finish is not FinishReason.IN_PROGRESS,
        complete=finish is FinishReason.STOP or (finish is FinishReason.LENGTH and message.length_is_complete),
        arrival=now - times.age,
        shadow_scores=tuple((s.ranker_version, s.score) for s in prediction.shadow_scores[:MOST_SHADOW_SCORES]),
        waited=times.waited,
        ran=times.ran,
        expected=expected_of(prediction, limits.max_token_count),
        pilot_slot=prediction.pilot_slot,
        tenant=prediction.tenant or caller.tenant,
        reporter=caller.tenant,
        took=times.took,
        prompt_tokens=message.prompt_token_count,
        cached_prompt_tokens=message.cached_prompt_token_count,
        features=prediction.features,
    )
    return completion, finish


def _check_counts(message: completion_pb2.Completion, limits: LimitsSection) -> None:
    """Refuse counts that cannot be.

    Raises:
        RejectedError: with the field at fault.
    """
    for name in ("output_token_count", "prompt_token_count"):
        if getattr(message, name) > limits.max_token_count:
            raise RejectedError(
                completion_pb2.REJECTION_REASON_IMPOSSIBLE_COUNT,
                f"{name} is over limits.max_token_count = {limits.max_token_count}",
            )
    if message.cached_prompt_token_count > message.prompt_token_count:
        raise RejectedError(
            completion_pb2.REJECTION_REASON_IMPOSSIBLE_COUNT,
            "cached_prompt_token_count is over prompt_token_count, of which it is a part",
        )


@dataclass(frozen=True, slots=True)
class _Times:
    """What a report says of time, seconds; None where it says nothing, or nothing that can be."""

    age: float
    """Since the request arrived."""
    waited: float | None = None
    ran: float | None = None
    took: float | None = None


def _times_of(message: completion_pb2.Completion, caller_now: float, limits: LimitsSection) -> _Times:
    """How long ago a request came, and what it took, within what can have passed since its prediction was made.

    Raises:
        RejectedError: with the field at fault.
    """
    # Clocks differ: an age by the caller's clock becomes a time by ours. Validates the durations, too.
    age = max(0.0, caller_now - _arrival(message, caller_now))
    passed = _passed(message.prediction, limits)
    most = min(limits.max_request_seconds, max(0.0, passed) + limits.report_tolerance)
    # Where the prediction is of the future, a clock was set since, or another replica's differs: nothing can be said of
    # how long the request took, and nothing is learned of it.
    if passed < -limits.report_tolerance:
        return _Times(min(age, most))
    _check_durations(message, most, limits)
    waited = _waited(message)
    took = message.total_duration.ToNanoseconds() * 1e-9 if message.HasField("total_duration") else None
    return _Times(min(age, most), waited, _ran(message, waited), took)


def expected_of(prediction: prediction_pb2.Prediction, most_tokens: int) -> float | None:
    """The expected length that a prediction carries, in tokens; None where it carries none that can be."""
    if not prediction.HasField("expected_token_count"):
        return None
    expected = prediction.expected_token_count
    return expected if 0 <= expected <= most_tokens else None


def _passed(prediction: prediction_pb2.Prediction, limits: LimitsSection) -> float:
    """The most seconds that can have passed since a prediction was made; infinite where it does not say when.

    Raises:
        RejectedError: it says what is no time.
    """
    if not prediction.HasField("scored_at"):
        return math.inf
    violations = Violations()
    scored_at = seconds_of(prediction.scored_at, "prediction.scored_at", violations)
    _reject_time(violations)
    return CLOCK.longest_since(scored_at, memory=limits.max_request_seconds)


def _check_durations(message: completion_pb2.Completion, most: float, limits: LimitsSection) -> None:
    """Refuse a wait or a duration that cannot be: it would be learned from.

    Raises:
        RejectedError: with the field at fault.
    """
    for name in ("queue_duration", "total_duration"):
        if getattr(message, name).seconds < most:
            continue
        if most >= limits.max_request_seconds:
            why = f"is over limits.max_request_seconds = {limits.max_request_seconds:g}"
        else:
            why = (
                f"is longer than the {most - limits.report_tolerance:.0f} s since prediction.scored_at and "
                f"limits.report_tolerance = {limits.report_tolerance:g} s: send what passed, or raise that setting"
            )
        raise RejectedError(completion_pb2.REJECTION_REASON_INVALID_TIME, f"{name} {why}")


def _reject_time(violations: Violations) -> None:
    if violations.found:
        first = violations.found[0]
        raise RejectedError(completion_pb2.REJECTION_REASON_INVALID_TIME, f"{first.field} {first.description}")


def _waited(message: completion_pb2.Completion) -> float | None:
    """Seconds that a request waited; None where that was not said, or is more than it took in all."""
    if not message.HasField("queue_duration"):
        return None
    waited = message.queue_duration.ToNanoseconds() * 1e-9
    total = message.total_duration.ToNanoseconds() * 1e-9 if message.HasField("total_duration") else waited
    return waited if waited <= total else None


def _ran(message: completion_pb2.Completion, waited: float | None) -> float | None:
    """Seconds that a request ran; None where what was said does not tell."""
    if waited is None or not message.HasField("total_duration"):
        return None
    ran = message.total_duration.ToNanoseconds() * 1e-9 - waited
    return ran if ran >= 0 else None


def _arrival(message: completion_pb2.Completion, caller_now: float) -> float:
    violations = Violations()
    total = duration_of(message.total_duration, "total_duration", violations)
    duration_of(message.queue_duration, "queue_duration", violations)
    arrival = caller_now - total
    if message.HasField("arrival_time"):
        arrival = seconds_of(message.arrival_time, "arrival_time", violations)
    _reject_time(violations)
    return arrival
