"""AdminService: for operators, on a listener of its own."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
from rankd_client.v1 import admin_pb2, admin_pb2_grpc, quality_pb2

from rankd.config import Settings
from rankd.errors import ArtifactError, FieldViolation, InvalidRequestError
from rankd.monitor import Monitor
from rankd.registry import LoadedRanker, Registry
from rankd.transport.convert import Violations, duration_of, name_of
from rankd.transport.models import check_model
from rankd.transport.quality_service import guard_of
from rankd.types import GuardMode

_PINNABLE = {
    quality_pb2.GUARD_MODE_RANKED: GuardMode.RANKED,
    quality_pb2.GUARD_MODE_FALLBACK: GuardMode.FALLBACK,
}
_LONGEST_PIN = 7 * 86400.0


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Loads, promotes and rolls back rankers; pins guards."""

    def __init__(self, registry: Registry, monitor: Monitor, settings: Settings) -> None:
        """Take the rooms that are administered."""
        self._registry = registry
        self._monitor = monitor
        self._settings = settings

    async def ListRankers(  # noqa: N802
        self, request: admin_pb2.ListRankersRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.ListRankersResponse:
        """List the loaded rankers."""
        del request, context
        return admin_pb2.ListRankersResponse(rankers=[self._ranker(r) for r in self._registry.all()])

    async def LoadRanker(  # noqa: N802
        self, request: admin_pb2.LoadRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.LoadRankerResponse:
        """Load a ranker from below the registry directory."""
        del context
        loaded = await self._registry.load(self._below_registry(request.path))
        return admin_pb2.LoadRankerResponse(ranker=self._ranker(loaded))

    async def PromoteRanker(  # noqa: N802
        self, request: admin_pb2.PromoteRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.PromoteRankerResponse:
        """Put a loaded ranker into service."""
        del context
        return admin_pb2.PromoteRankerResponse(ranker=self._ranker(self._registry.promote(request.ranker_version)))

    async def RollbackRanker(  # noqa: N802
        self, request: admin_pb2.RollbackRankerRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.RollbackRankerResponse:
        """Put the previous ranker back."""
        del request, context
        return admin_pb2.RollbackRankerResponse(ranker=self._ranker(self._registry.roll_back()))

    async def PinGuard(  # noqa: N802
        self, request: admin_pb2.PinGuardRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.PinGuardResponse:
        """Hold a guard in a mode for a while."""
        del context
        bad = Violations()
        model = name_of(request.model, "model", self._settings.limits, bad)
        duration = duration_of(request.duration, "duration", bad)
        mode = _PINNABLE.get(request.mode)
        if mode is None:
            bad.add("mode", "must be GUARD_MODE_RANKED or GUARD_MODE_FALLBACK")
        if not 0 < duration <= _LONGEST_PIN:
            bad.add("duration", "must be more than 0 and at most 7 days")
        bad.check()
        assert mode is not None
        check_model(model, self._settings.quality.models)
        now = time.time()
        version = request.ranker_version or self._registry.in_service.version
        view = self._monitor.pin(model, version, mode, now + duration, now)
        return admin_pb2.PinGuardResponse(guard=guard_of(view, enabled=self._settings.guard.enabled))

    async def UnpinGuard(  # noqa: N802
        self, request: admin_pb2.UnpinGuardRequest, context: grpc.aio.ServicerContext
    ) -> admin_pb2.UnpinGuardResponse:
        """Let a guard decide again."""
        del context
        check_model(request.model, self._settings.quality.models)
        version = request.ranker_version or self._registry.in_service.version
        view = self._monitor.unpin(request.model, version, time.time())
        return admin_pb2.UnpinGuardResponse(guard=guard_of(view, enabled=self._settings.guard.enabled))

    def _below_registry(self, path: str) -> Path:
        registry = self._settings.registry
        if registry is None:
            raise ArtifactError("NO_REGISTRY", "loading needs the setting registry (RANKD_REGISTRY): a directory")
        root = registry.resolve()
        if "\0" in path:
            raise InvalidRequestError([FieldViolation("path", "must not contain a NUL character")])
        full = (root / path).resolve()
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
        )
        if ranker.measured_tau is not None:
            out.measured_tau = ranker.measured_tau
        return out
