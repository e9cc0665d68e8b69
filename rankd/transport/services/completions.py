"""CompletionService: every report is taken or refused on its own; a bad one costs the good ones nothing."""

from __future__ import annotations

import grpc
from rankd_client._placed import placed_of
from rankd_client.v1 import completion_pb2, completion_pb2_grpc

from rankd.clock import CLOCK
from rankd.ranking.completions import Completions, Outcome
from rankd.ranking.placements import RecentPlacements
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import current_caller
from rankd.transport.convert.completion import RejectedError, check_identity, completion_of
from rankd.transport.convert.request import Violations, check_count, check_model, name_of, now_of
from rankd.transport.signing import PredictionSigner
from rankd.transport.time_slices import TimeSlices

_REFUSALS = {
    Outcome.OUT_OF_ORDER: (
        completion_pb2.REJECTION_REASON_OUT_OF_ORDER,
        "older than what is known of this request already",
    ),
    Outcome.IMPOSSIBLE_COUNT: (completion_pb2.REJECTION_REASON_IMPOSSIBLE_COUNT, "cannot be true"),
}


class CompletionService(completion_pb2_grpc.CompletionServiceServicer):
    """Takes reports."""

    def __init__(
        self,
        completions: Completions,
        settings: Settings,
        telemetry: Telemetry,
        time_slices: TimeSlices,
        signer: PredictionSigner,
        placements: RecentPlacements,
    ) -> None:
        """Take the use case."""
        self._placements = placements
        self._signer = signer
        self._time_slices = time_slices
        self._completions = completions
        self._settings = settings
        self._telemetry = telemetry

    async def ReportCompletions(  # noqa: N802
        self, request: completion_pb2.ReportCompletionsRequest, context: grpc.aio.ServicerContext
    ) -> completion_pb2.ReportCompletionsResponse:
        """Take a batch of outcomes, a few milliseconds at a time.

        Batches that come at the same time alternate. Each report is taken in one piece: a final one counts once
        whichever batch brings it, and progress that another batch has overtaken is refused as ever. All of a batch
        counts as reported when it came, however long it takes. Of a batch whose caller goes away, what was taken stays
        taken and what was not is left; when it is sent again, the first part is found to be known.
        """
        del context
        limits = self._settings.limits
        violations = Violations()
        caller_now = now_of(request, violations)
        model = name_of(request.model, "model", limits, violations)
        check_count(request.completions, "completions", limits, violations)
        violations.check()
        check_model(model, self._settings.quality.models)
        response = completion_pb2.ReportCompletionsResponse()
        now = CLOCK.now()
        if request.HasField("placed"):
            placed = placed_of(request.placed)
            self._placements.add(placed, now)
            self._telemetry.placed(placed)
        async with self._time_slices.acquire() as time_slice:
            for index, message in enumerate(request.completions):
                if time_slice.over:
                    await time_slice.next()
                try:
                    outcome = self._take(message, model, caller_now, now)
                except RejectedError as error:
                    response.rejected.add(index=index, reason=error.reason, description=error.description)
                    name = completion_pb2.RejectionReason.Name(error.reason)
                    final = message.finish_reason != completion_pb2.FINISH_REASON_IN_PROGRESS
                    self._telemetry.completion(name.removeprefix("REJECTION_REASON_").lower(), final=final)
                    continue
                if outcome is Outcome.DUPLICATE:
                    response.duplicate_count += 1
                elif (refusal := _REFUSALS.get(outcome)) is not None:
                    response.rejected.add(index=index, reason=refusal[0], description=refusal[1])
                else:
                    response.accepted_count += 1
        return response

    def _take(self, message: completion_pb2.Completion, model: str, caller_now: float, now: float) -> Outcome:
        """Take one report.

        Raises:
            RejectedError: it cannot be, with the field at fault.
        """
        limits = self._settings.limits
        check_identity(message, limits)
        self._check_origin(message, model)
        if not self._completions.knows(message.prediction.ranker_version):
            raise RejectedError(
                completion_pb2.REJECTION_REASON_UNKNOWN_RANKER_VERSION,
                "prediction.ranker_version was never loaded on this daemon",
            )
        completion, finish = completion_of(
            message, model, current_caller(), caller_now=caller_now, now=now, limits=limits
        )
        return self._completions.take(completion, finish, now)

    def _check_origin(self, message: completion_pb2.Completion, model: str) -> None:
        """Refuse a prediction that is another tenant's than the caller's, or not one of ours.

        Raises:
            RejectedError: with what is wrong.
        """
        caller, tenant = current_caller(), message.prediction.tenant
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
