"""AdminService: for operators, on a listener of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from rankd_client.ordering import Policy
from rankd_client.v1 import admin_pb2, admin_pb2_grpc, quality_pb2

from rankd.adaptation import Adaptation
from rankd.adaptation.folding import FoldedHead
from rankd.clock import CLOCK
from rankd.errors import ArtifactError, FieldViolation, InvalidRequestError, NotFoundError, UnavailableError
from rankd.monitor.monitor import Monitor
from rankd.monitor.window import Window
from rankd.pilot.live import LivePilots
from rankd.quality.serialise import LONGEST_PIN
from rankd.registry.comparison import ComparisonOptions
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.promotion import Promotion
from rankd.settings import Settings
from rankd.transport.authentication import current_caller
from rankd.transport.convert.adaptation import learned_of
from rankd.transport.convert.comparison import judgement_of, options_of
from rankd.transport.convert.history import steps_of
from rankd.transport.convert.pilot import only_name, plan_of, status_of
from rankd.transport.convert.placement import placement_message
from rankd.transport.convert.quality import guard_of
from rankd.transport.convert.request import Violations, check_model, duration_of, name_of, timestamp
from rankd.transport.streams import StreamKind, Streams
from rankd.types import GuardMode

_PINNABLE = {
    quality_pb2.GUARD_MODE_RANKED: GuardMode.RANKED,
    quality_pb2.GUARD_MODE_FALLBACK: GuardMode.FALLBACK,
}
_PROGRESS_EVERY = 0.25
"""Seconds between two messages of progress."""


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Loads, shadows, compares, promotes, rolls back and unloads rankers; pins guards; runs pilots."""

    def __init__(
        self,
        registry: Registry,
        promotion: Promotion,
        monitor: Monitor,
        pilots: LivePilots,
        settings: Settings,
        streams: Streams,
    ) -> None:
        """Take what is administered."""
        self._pilots = pilots
        self._registry = registry
        self._promotion = promotion
        self._streams = streams
        self._monitor = monitor
        self._settings = settings

    async def ListRankers(  # noqa: N802
        self, request: admin_pb2.ListRankersRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.ListRankersResponse:
        """List the loaded rankers, and the history."""
        del request, context
        registry, history = self._settings.registry, self._promotion.history
        below = history.below(self._registry.in_service.version)
        return admin_pb2.ListRankersResponse(
            rankers=[self._ranker(r) for r in self._registry.all()],
            registry_path="" if registry is None else str(registry.resolve()),
            history=steps_of(history),
            rollback_ranker_version="" if below is None else below.ranker_version,
            history_trouble=history.trouble,
        )

    async def LoadRanker(  # noqa: N802
        self, request: admin_pb2.LoadRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.LoadRankerResponse:
        """Load a ranker from below the registry directory."""
        del context
        loaded = await self._promotion.load(self._below_registry(request.path))
        return admin_pb2.LoadRankerResponse(ranker=self._ranker(loaded))

    async def PromoteRanker(  # noqa: N802
        self, request: admin_pb2.PromoteRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.PromoteRankerResponse:
        """Put a loaded ranker into service, if asked only where it is better."""
        del context
        only_if = None
        if request.HasField("only_if_better"):
            only_if = self._options(request.only_if_better, "only_if_better")
        ranker, promoted, judgement = await self._promotion.promote(request.ranker_version, only_if, _who())
        return admin_pb2.PromoteRankerResponse(
            ranker=self._ranker(ranker),
            promoted=promoted,
            judgement=None if judgement is None else judgement_of(judgement),
        )

    async def UnloadRanker(  # noqa: N802
        self, request: admin_pb2.UnloadRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.UnloadRankerResponse:
        """Free a ranker's memory."""
        del context
        self._promotion.unload(request.ranker_version)
        return admin_pb2.UnloadRankerResponse()

    async def StartShadow(  # noqa: N802
        self, request: admin_pb2.StartShadowRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.StartShadowResponse:
        """Let a ranker score in the shadow."""
        del context
        return admin_pb2.StartShadowResponse(ranker=self._ranker(self._promotion.start_shadow(request.ranker_version)))

    async def StopShadow(  # noqa: N802
        self, request: admin_pb2.StopShadowRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.StopShadowResponse:
        """Take a ranker out of the shadow."""
        del context
        return admin_pb2.StopShadowResponse(ranker=self._ranker(self._promotion.stop_shadow(request.ranker_version)))

    async def JudgeRanker(  # noqa: N802
        self, request: admin_pb2.JudgeRankerRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[admin_pb2.JudgeRankerResponse]:
        """Compare a ranker with the one in service: progress, then the judgement."""
        del context
        options = self._options(request.options, "options")
        state = [0, 0]

        def progress(done: int, total: int) -> None:
            state[:] = done, total

        with self._streams.opened(StreamKind.JUDGE, current_caller().key):
            judging = asyncio.ensure_future(self._promotion.compare(request.ranker_version, options, progress))
            try:
                while not (await asyncio.wait([judging], timeout=_PROGRESS_EVERY))[0]:
                    if self._streams.draining:
                        raise UnavailableError("the daemon is shutting down", retry_after=1.0)
                    yield admin_pb2.JudgeRankerResponse(scored_count=state[0], total_count=state[1])
                judgement = judgement_of(judging.result())
                yield admin_pb2.JudgeRankerResponse(scored_count=state[0], total_count=state[1], judgement=judgement)
            finally:
                judging.cancel()

    async def RollbackRanker(  # noqa: N802
        self, request: admin_pb2.RollbackRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.RollbackRankerResponse:
        """Put the ranker before back, or the one named."""
        del context
        ranker = await self._promotion.roll_back(request.ranker_version, _who())
        return admin_pb2.RollbackRankerResponse(ranker=self._ranker(ranker))

    async def PinGuard(  # noqa: N802
        self, request: admin_pb2.PinGuardRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.PinGuardResponse:
        """Hold a guard in a mode for a while."""
        del context
        violations = Violations()
        model = name_of(request.model, "model", self._settings.limits, violations)
        duration = duration_of(request.duration, "duration", violations)
        mode = _PINNABLE.get(request.mode)
        if mode is None:
            violations.add("mode", "must be GUARD_MODE_RANKED or GUARD_MODE_FALLBACK")
        if not 0 < duration <= LONGEST_PIN:
            violations.add("duration", "must be more than 0 and at most 7 days")
        violations.check()
        assert mode is not None
        check_model(model, self._settings.quality.models)
        now = CLOCK.now()
        version = request.ranker_version or self._registry.in_service.version
        window = self._monitor.pin(model, version, mode, now + duration, now)
        return admin_pb2.PinGuardResponse(guard=guard_of(window, enabled=self._settings.guard.enabled))

    async def UnpinGuard(  # noqa: N802
        self, request: admin_pb2.UnpinGuardRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.UnpinGuardResponse:
        """Let a guard decide again."""
        del context
        check_model(request.model, self._settings.quality.models)
        version = request.ranker_version or self._registry.in_service.version
        window = self._monitor.unpin(request.model, version, CLOCK.now())
        return admin_pb2.UnpinGuardResponse(guard=guard_of(window, enabled=self._settings.guard.enabled))

    async def StartPilot(  # noqa: N802
        self, request: admin_pb2.StartPilotRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.StartPilotResponse:
        """Begin a pilot."""
        del context
        violations = Violations()
        model = name_of(request.model, "model", self._settings.limits, violations)
        if request.only_model:
            model = only_name(model, [w.model for w in self._monitor.reported_windows()], "report", violations)
        idle_after = self._settings.pilot.idle_after
        plan = plan_of(request, Policy(self._settings.order.policy), idle_after, time.time(), violations)
        check_model(model, self._settings.quality.models)
        pilot = self._pilots.start(model, plan)
        return admin_pb2.StartPilotResponse(pilot=status_of(model, pilot, self._pilots.now(model)))

    async def GetPilot(  # noqa: N802
        self, request: admin_pb2.GetPilotRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.GetPilotResponse:
        """Say how a pilot stands."""
        del context
        model = self._piloted(request.model, only=request.only_model)
        return admin_pb2.GetPilotResponse(pilot=status_of(model, self._pilots.get(model), self._pilots.now(model)))

    async def StopPilot(  # noqa: N802
        self, request: admin_pb2.StopPilotRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.StopPilotResponse:
        """End a pilot."""
        del context
        model = self._piloted(request.model, only=request.only_model)
        return admin_pb2.StopPilotResponse(pilot=status_of(model, self._pilots.stop(model), self._pilots.now(model)))

    def _piloted(self, model: str, *, only: bool) -> str:
        """The model whose pilot is meant."""
        if not only:
            return model
        violations = Violations()
        found = only_name(model, [name for name, _ in self._pilots.all()], "have a pilot", violations)
        violations.check()
        return found

    async def GetLearned(  # noqa: N802
        self, request: admin_pb2.GetLearnedRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.GetLearnedResponse:
        """Give what was learned of a model's traffic."""
        del context
        ranker = self._registry.resolve(request.ranker_version)
        window, adaptation = self._learning(request.model, ranker.version)
        head = adaptation.head()
        if head is None or ranker.hasher is None:
            raise NotFoundError(
                f"nothing was learned of this model's traffic yet: {adaptation.status.completions} completions, and "
                f"adapt.min_completions = {self._settings.adapt.min_completions} are needed"
            )
        packed = FoldedHead.of(head, ranker.hasher).pack()
        return learned_of(ranker.version, str(ranker.path), packed, adaptation.status, window.learned_calibration)

    async def ForgetLearned(  # noqa: N802
        self, request: admin_pb2.ForgetLearnedRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.ForgetLearnedResponse:
        """Begin to learn a model's traffic anew."""
        del context
        window, _ = self._learning(request.model, request.ranker_version or self._registry.in_service.version)
        self._monitor.forget_learned(window)
        return admin_pb2.ForgetLearnedResponse()

    def _learning(self, model: str, ranker_version: str) -> tuple[Window, Adaptation]:
        """The window of a model that reported, and what is learned of its traffic."""
        check_model(model, self._settings.quality.models)
        if not self._settings.adapt.enabled:
            raise NotFoundError("nothing is learned here: adapt.enabled (RANKD_ADAPT__ENABLED) is false")
        window = self._monitor.own_or_base(model, ranker_version)
        if window.adaptation is None:
            raise NotFoundError("no completion of this model was reported for this ranker: `rankd status` has those")
        return window, window.adaptation

    def _options(self, message: admin_pb2.JudgeOptions, field: str) -> ComparisonOptions:
        violations = Violations()
        options = options_of(message, field, self._settings.promotion, self._settings.limits, violations)
        violations.check()
        if options.model is not None:
            check_model(options.model, self._settings.quality.models)
        return options

    def _below_registry(self, path: str) -> Path:
        registry = self._settings.registry
        if registry is None:
            raise ArtifactError("NO_REGISTRY", "loading needs the setting registry (RANKD_REGISTRY): a directory")
        root = registry.resolve()
        if "\0" in path:
            raise InvalidRequestError([FieldViolation("path", "must not contain a NUL character")])
        try:
            full = (root / path).resolve()
        except (OSError, RuntimeError):  # a RuntimeError is a loop, up to Python 3.12
            raise InvalidRequestError([FieldViolation("path", "leads nowhere: a symlink in it is a loop")]) from None
        if full == root or not full.is_relative_to(root):
            raise InvalidRequestError([FieldViolation("path", "must be a directory below the setting registry")])
        return full

    def _ranker(self, ranker: LoadedRanker) -> admin_pb2.Ranker:
        previous = self._registry.previous
        out = admin_pb2.Ranker(
            ranker_version=ranker.version,
            in_service=ranker is self._registry.in_service,
            previous=previous is not None and ranker.version == previous.version,
            provider=ranker.scorer.provider,
            path=str(ranker.path),
            placement=placement_message(ranker),
        )
        if ranker.measured_tau is not None:
            out.measured_tau = ranker.measured_tau
        if (shadow := self._promotion.shadow_of(ranker.version)) is not None:
            out.shadow.since.CopyFrom(timestamp(CLOCK.to_wall(shadow.since)))
            out.shadow.scored_count = shadow.scored
            out.shadow.completion_count = len(shadow.pairs)
            out.shadow.dropped_count = shadow.dropped
        return out


def _who() -> str:
    """The name of the caller's credential; empty where callers have none."""
    credential = current_caller().credential
    return "" if credential is None else credential.name
