"""CompletionService: every report is judged on its own; a bad one costs the good ones nothing."""

from __future__ import annotations

import math
import time

import grpc
from rankd_client.v1 import completion_pb2, completion_pb2_grpc, prediction_pb2

from rankd.completion_log import CompletionLog
from rankd.monitor.monitor import Monitor
from rankd.pilot.live import LivePilots
from rankd.quality import ReportVerdict
from rankd.registry.shadow import ShadowRankers
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import the_caller
from rankd.transport.convert.request import (
    MOST_SHADOW_SCORES,
    Violations,
    check_count,
    check_model,
    duration_of,
    name_of,
    now_of,
    seconds_of,
    too_long,
)
from rankd.transport.signing import PredictionSigner
from rankd.transport.time_slices import TimeSlices
from rankd.types import Completion, FinishReason

_FINISH_REASONS = {
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


class CompletionService(completion_pb2_grpc.CompletionServiceServicer):
    """Takes reports."""

    def __init__(
        self,
        monitor: Monitor,
        shadows: ShadowRankers,
        pilots: LivePilots,
        log: CompletionLog | None,
        settings: Settings,
        telemetry: Telemetry,
        time_slices: TimeSlices,
        signer: PredictionSigner,
    ) -> None:
        """Take the rooms that learn from them, and the log where there is one."""
        self._signer = signer
        self._time_slices = time_slices
        self._monitor = monitor
        self._shadows = shadows
        self._pilots = pilots
        self._log = log
        self._settings = settings
        self._telemetry = telemetry

    async def ReportCompletions(  # noqa: N802
        self, request: completion_pb2.ReportCompletionsRequest, context: grpc.aio.ServicerContext
    ) -> completion_pb2.ReportCompletionsResponse:
        """Take a batch of outcomes, a few milliseconds at a time.

        Batches that come at the same time alternate. Each report is taken in one piece: a final one counts once
        whichever batch brings it, and progress that another batch has overtaken is refused as ever. All of a batch
        counts as told when it came, however long it takes. Of a batch whose caller goes away, what was taken stays
        taken and the rest is left; when it is sent again, the first part is found to be known.
        """
        del context
        limits = self._settings.limits
        bad = Violations()
        caller_now = now_of(request, bad)
        model = name_of(request.model, "model", limits, bad)
        check_count(request.completions, "completions", limits, bad)
        bad.check()
        check_model(model, self._settings.quality.models)
        response = completion_pb2.ReportCompletionsResponse()
        now = time.time()
        async with self._time_slices.acquire() as time_slice:
            for index, message in enumerate(request.completions):
                if time_slice.over:
                    await time_slice.next()
                try:
                    completion = self._completion(message, model, caller_now, now)
                    self._take(completion, _FINISH_REASONS[message.finish_reason], now, response)
                except RejectedError as error:
                    response.rejected.add(index=index, reason=error.reason, description=error.description)
                    name = completion_pb2.RejectionReason.Name(error.reason)
                    self._telemetry.completion(name.removeprefix("REJECTION_REASON_").lower())
        return response

    def _take(
        self,
        completion: Completion,
        finish: FinishReason,
        now: float,
        response: completion_pb2.ReportCompletionsResponse,
    ) -> None:
        """Take one report, all of it or nothing: there is no ``await`` in here.

        Raises:
            RejectedError: it is not taken.
        """
        verdict = self._monitor.report(completion, now)
        if verdict is ReportVerdict.DUPLICATE:
            response.duplicate_count += 1
            self._telemetry.completion("duplicate")
            return
        _check_verdict(verdict)
        learned = verdict is not ReportVerdict.OVER_SHARE
        if learned:
            self._shadows.completed(completion, now)
        self._pilots.completed(completion, finish)
        if self._log is not None:
            self._log.completed(completion, finish, now)
        response.accepted_count += 1
        outcome = "not_followed" if verdict is None else "accepted" if learned else "over_share"
        self._telemetry.completion(outcome)

    def _completion(self, message: completion_pb2.Completion, model: str, caller_now: float, now: float) -> Completion:
        """Judge one report.

        Raises:
            RejectedError: with the field at fault.
        """
        limits = self._settings.limits
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
        self._check_origin(message, model)
        if not self._monitor.knows(message.prediction.ranker_version):
            raise RejectedError(
                completion_pb2.REJECTION_REASON_UNKNOWN_RANKER_VERSION,
                "prediction.ranker_version was never loaded on this daemon",
            )
        if message.output_token_count > limits.max_token_count:
            raise RejectedError(
                completion_pb2.REJECTION_REASON_IMPOSSIBLE_COUNT,
                f"output_token_count is over limits.max_token_count = {limits.max_token_count}",
            )
        finish = _FINISH_REASONS.get(message.finish_reason)
        if finish is None:
            raise RejectedError(
                completion_pb2.REJECTION_REASON_UNKNOWN_FINISH_REASON,
                "finish_reason must be STOP, LENGTH, ABORTED, CANCELLED or IN_PROGRESS",
            )
        # Clocks differ: an age by the caller's clock becomes a time by ours. Validates the durations, too.
        arrival = now - max(0.0, caller_now - _arrival(message, caller_now))
        waited = _waited(message)
        return Completion(
            request_id=message.request_id,
            model=model,
            ranker_version=message.prediction.ranker_version,
            score=message.prediction.score,
            tokens=message.output_token_count,
            final=finish is not FinishReason.IN_PROGRESS,
            complete=finish is FinishReason.STOP or (finish is FinishReason.LENGTH and message.length_is_complete),
            arrival=arrival,
            shadow_scores=tuple(
                (s.ranker_version, s.score) for s in message.prediction.shadow_scores[:MOST_SHADOW_SCORES]
            ),
            waited=waited,
            ran=_ran(message, waited),
            expected=_expected(message.prediction, limits.max_token_count),
            pilot_slot=message.prediction.pilot_slot,
            tenant=message.prediction.tenant or the_caller().tenant,
            reporter=the_caller().tenant,
            took=message.total_duration.ToNanoseconds() * 1e-9 if message.HasField("total_duration") else None,
        )

    def _check_origin(self, message: completion_pb2.Completion, model: str) -> None:
        """Refuse a prediction that is another tenant's than the caller's, or not one of ours.

        Raises:
            RejectedError: with what is wrong.
        """
        caller, tenant = the_caller(), message.prediction.tenant
        if too_long(tenant, self._settings.limits.max_name_bytes):
            raise RejectedError(
                completion_pb2.REJECTION_REASON_INVALID_PREDICTION,
                f"prediction.tenant is longer than limits.max_name_bytes = {self._settings.limits.max_name_bytes}",
            )
        # Without keys nothing binds a prediction to a tenant, and one of before the credential had one names none.
        if caller.tenant and tenant != caller.tenant and (tenant or self._signer.keys is not None):
            self._telemetry.refused("tenant")
            raise RejectedError(
                completion_pb2.REJECTION_REASON_WRONG_TENANT,
                "prediction.tenant is not the tenant of the caller's credential",
            )
        if not self._signer.verify(message.prediction, message.request_id, model):
            raise RejectedError(
                completion_pb2.REJECTION_REASON_INVALID_SIGNATURE,
                "prediction must be the one of the Rank answer, unchanged, of this request_id, tenant and model",
            )


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


def _expected(prediction: prediction_pb2.Prediction, most: int) -> float | None:
    """The expected length that a prediction tells; None where it tells none that can be."""
    if not prediction.HasField("expected_token_count"):
        return None
    expected = prediction.expected_token_count
    return expected if 0 <= expected <= most else None


def _arrival(message: completion_pb2.Completion, caller_now: float) -> float:
    bad = Violations()
    total = duration_of(message.total_duration, "total_duration", bad)
    duration_of(message.queue_duration, "queue_duration", bad)
    arrival = caller_now - total
    if message.HasField("arrival_time"):
        arrival = seconds_of(message.arrival_time, "arrival_time", bad)
    if bad.found:
        raise RejectedError(
            completion_pb2.REJECTION_REASON_INVALID_TIME, f"{bad.found[0].field} {bad.found[0].description}"
        )
    return arrival


def _check_verdict(verdict: ReportVerdict | None) -> None:
    if verdict is ReportVerdict.STALE:
        raise RejectedError(
            completion_pb2.REJECTION_REASON_OUT_OF_ORDER, "older than what is known of this request already"
        )
    if verdict is ReportVerdict.INVALID:
        raise RejectedError(completion_pb2.REJECTION_REASON_IMPOSSIBLE_COUNT, "cannot be true")
