"""QualityService: what the monitor knows, as proto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from rankd_client._placed import placed_message
from rankd_client.v1 import quality_pb2, quality_pb2_grpc

from rankd.auth import FileWatch
from rankd.clock import CLOCK
from rankd.errors import NotFoundError
from rankd.fleet.follower import FleetFollower
from rankd.monitor.monitor import Monitor
from rankd.pilot import PilotState
from rankd.pilot.live import LivePilots
from rankd.ranking.placements import RecentPlacements
from rankd.ranking.ranker import QueueRanker
from rankd.registry.history import ServiceHistory
from rankd.registry.loaded import Registry
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.authentication import current_caller
from rankd.transport.convert.fleet import to_proto
from rankd.transport.convert.fleet_learned import add_answer, question_from_proto
from rankd.transport.convert.history import choice_fields
from rankd.transport.convert.pilot import pilot_in_force_of
from rankd.transport.convert.placement import placement_message
from rankd.transport.convert.request import Violations, duration_of, timestamp
from rankd.transport.quality_answers import QualityAnswers
from rankd.transport.streams import StreamKind, Streams
from rankd.transport.time_slices import TimeSlices
from rankd.version import VERSION

_SHORTEST_INTERVAL, _LONGEST_INTERVAL, _DEFAULT_INTERVAL = 0.1, 3600.0, 1.0


class QualityService(quality_pb2_grpc.QualityServiceServicer):
    """Says how well the ranker orders live traffic."""

    def __init__(
        self,
        monitor: Monitor,
        registry: Registry,
        ranker: QueueRanker,
        pilots: LivePilots,
        settings: Settings,
        streams: Streams,
        follower: FleetFollower,
        files: FileWatch,
        time_slices: TimeSlices,
        telemetry: Telemetry,
        history: ServiceHistory,
        placements: RecentPlacements,
    ) -> None:
        """Take what is shown."""
        self._history = history
        self._placements = placements
        self._files = files
        self._telemetry = telemetry
        self._follower = follower
        self._time_slices = time_slices
        self._pilots = pilots
        self._answers = QualityAnswers(monitor, pilots, settings)
        self._monitor = monitor
        self._registry = registry
        self._ranker = ranker
        self._settings = settings
        self._streams = streams
        self._started = CLOCK.now()

    async def GetQuality(  # noqa: N802
        self, request: quality_pb2.GetQualityRequest, context: grpc.aio.ServicerContext
    ) -> quality_pb2.GetQualityResponse:
        """Show the present state."""
        del context
        return quality_pb2.GetQualityResponse(**await self._state(request))

    async def WatchQuality(  # noqa: N802
        self, request: quality_pb2.WatchQualityRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[quality_pb2.WatchQualityResponse]:
        """Show the state now, at every interval and at every change of a guard, ten times a second at most."""
        del context
        violations = Violations()
        interval = _DEFAULT_INTERVAL
        if request.HasField("interval"):
            interval = duration_of(request.interval, "interval", violations)
            if not _SHORTEST_INTERVAL <= interval <= _LONGEST_INTERVAL:
                violations.add("interval", "must be 100 ms to 1 h")
        violations.check()
        with self._streams.opened(StreamKind.WATCH, current_caller().key):
            while True:
                yield quality_pb2.WatchQualityResponse(**await self._state(request))
                await self._streams.pause(asyncio.ensure_future(self._changed(interval)))

    async def _changed(self, interval: float) -> bool:
        """Wait for a guard to change, or for ``interval`` seconds; many changes in a row are told together."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _SHORTEST_INTERVAL
        changed = await self._monitor.changed(interval)
        await asyncio.sleep(max(0.0, until - loop.time()))
        return changed

    async def GetFleetShare(  # noqa: N802
        self, request: quality_pb2.GetFleetShareRequest, context: grpc.aio.ServicerContext
    ) -> quality_pb2.GetFleetShareResponse:
        """Say what this replica contributes."""
        del context
        now = CLOCK.now()
        out = to_proto(self._follower.state(), now)
        if (question := question_from_proto(request)) is not None:
            answer = self._follower.learning.answer(question, now)
            if answer is not None:
                add_answer(out, answer, now)
        return out

    async def _state(self, request: Any) -> dict[str, Any]:
        in_service = self._registry.in_service.version
        windows = self._monitor.reported_windows()
        if request.HasField("model"):
            windows = [w for w in windows if w.model == request.model]
        if request.ranker_version:
            if not self._monitor.knows(request.ranker_version):
                raise NotFoundError("ranker_version: never loaded on this daemon")
            windows = [w for w in windows if w.ranker_version == request.ranker_version]
        models = sorted({w.model for w in windows} or {request.model if request.HasField("model") else ""})
        if not windows:
            # Nothing was reported yet: show the guard that stands for every model.
            windows = [self._monitor.base(request.ranker_version or in_service)]
        windows.sort(key=lambda w: (w.ranker_version != in_service, w.model, w.ranker_version))
        await self._monitor.refresh(windows, CLOCK.now())
        question = request.model if request.HasField("model") else None, request.ranker_version
        parts = await self._time_slices.run(self._answers.steps(question, windows, models, in_service))
        told = {"qualities": parts.qualities, "policies": parts.policies, "savings": parts.savings}
        return told | {"pilots": self._pilots_of(request), "service": self._service()}

    def _pilots_of(self, request: Any) -> list[quality_pb2.PilotInForce]:
        return [
            pilot_in_force_of(model, pilot, self._pilots)
            for model, pilot in self._pilots.all()
            if pilot.state is not PilotState.PLANNED and (not request.HasField("model") or request.model == model)
        ]

    def _service(self) -> quality_pb2.ServiceStatus:
        ranker = self._registry.in_service
        scorers = [r.scorer for r in self._registry.all()]
        completions, progress_reports = self._telemetry.accepted_reports()
        return quality_pb2.ServiceStatus(
            rankd_version=VERSION,
            ranker_version=ranker.version,
            provider=ranker.scorer.provider,
            started_at=timestamp(CLOCK.to_wall(self._started)),
            rank_call_count=self._ranker.counts.calls,
            item_count=self._ranker.counts.items,
            unscored_item_count=self._ranker.counts.unscored,
            scored_prompt_count=sum(s.runner.counts.scored for s in scorers),
            cached_prompt_count=sum(s.cached for s in scorers),
            queued_prompt_count=sum(s.queued_prompts for s in scorers),
            failed_batch_count=sum(s.runner.counts.failed_batches for s in scorers),
            draining=self._streams.draining,
            failing_files=self._files.failing(),
            placement=placement_message(ranker),
            worker_count=ranker.scorer.runner.workers,
            completion_count=completions,
            progress_report_count=progress_reports,
            **choice_fields(self._history),
            recently_placed=placed_message(self._placements.recent(CLOCK.now())),
        )
