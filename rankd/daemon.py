"""The composition root: builds everything, starts, drains, stops. The only file that knows all of its packages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from rankd.auth import FileWatch
from rankd.clock import CLOCK
from rankd.completion_log import open_log
from rankd.fleet.follower import FleetFollower
from rankd.fleet.learning import FleetLearning
from rankd.fleet.membership import FleetMembership
from rankd.monitor.monitor import Monitor
from rankd.monitor.snapshot import Snapshots
from rankd.pilot.live import LivePilots
from rankd.ranking.completions import Completions
from rankd.ranking.placements import RecentPlacements
from rankd.ranking.ranker import QueueRanker
from rankd.ranking.savings import SavingsReports
from rankd.ranking.tenant_counts import TenantCounts
from rankd.registry.comparison import RankerComparison
from rankd.registry.feature_hashing import FeatureHashing
from rankd.registry.first_ranker import load_first
from rankd.registry.history import ServiceHistory
from rankd.registry.loaded import Registry
from rankd.registry.promotion import Promotion
from rankd.registry.shadow import ShadowRankers
from rankd.settings import Settings, http_connections
from rankd.status.gauges import StateGauges
from rankd.status.http import HttpServer
from rankd.status.http_pages import Views
from rankd.status.savings_gauges import SavingsGauges
from rankd.status.status import Status
from rankd.telemetry.telemetry import FLUSH_SECONDS, Telemetry
from rankd.transport.authentication import Authenticator
from rankd.transport.fleet_peers import FleetPeers
from rankd.transport.interceptor import CallInterceptor
from rankd.transport.rate_limit import RateLimit
from rankd.transport.server import Listener, add_admin, add_public
from rankd.transport.services.admin import AdminService
from rankd.transport.services.completions import CompletionService
from rankd.transport.services.quality import QualityService
from rankd.transport.services.rank import RankService
from rankd.transport.services.rank_stream import StreamSteps
from rankd.transport.signing import PredictionSigner
from rankd.transport.streams import Streams
from rankd.transport.time_slices import TimeSlices
from rankd.transport.tls import ServerCertificates
from rankd.version import VERSION

_log = structlog.get_logger("rankd")
_TICK = 1.0
_LOG_SECONDS = 10.0
"""What a shutdown waits for the completion log, whatever its store does."""
_HTTP_SECONDS = 6.0
_LAST_BYTES = 1.0
"""Seconds for connections once no call is under way: those that never say anything would take all of the grace."""
_STUCK = 5.0
"""Seconds after which batches that still run in all workers count as evidence against the ranker."""


class App:
    """One running daemon. ``start`` once, ``stop`` once, both on one event loop."""

    _ticker: asyncio.Task[None] | None = None

    def __init__(self, settings: Settings) -> None:
        """Build all parts; nothing listens yet."""
        self.settings = settings
        self.telemetry = Telemetry(VERSION)
        self.files = FileWatch()
        self.authenticator = Authenticator(settings, self.telemetry)
        self.monitor = Monitor(settings, self.telemetry)
        self.registry = Registry(
            settings.provider, settings.scoring, self.monitor, self.telemetry, FeatureHashing.of(settings)
        )
        self.history = ServiceHistory(settings.registry)
        self.shadows = ShadowRankers(self.registry, settings.promotion, self.telemetry)
        self.log = open_log(settings.completion_log, self.telemetry)
        self.comparison = RankerComparison(self.registry, self.shadows, self.log, settings, self.telemetry)
        self.snapshots = Snapshots(settings, self.monitor, self.telemetry)
        fleet = FleetMembership(settings.fleet, senior_since=time.time_ns(), began=time.monotonic())
        learning = FleetLearning(fleet, self.monitor, settings, self.telemetry)
        self.follower = FleetFollower(fleet, self.monitor, settings, learning)
        self.peers = FleetPeers(settings, self.follower, self.telemetry, self.files)
        self.pilots = LivePilots(self.telemetry)
        self.monitor.jobs.held = self.pilots.measures
        tenants = TenantCounts(settings.page.tenants)
        self.ranker = QueueRanker(
            self.registry, self.monitor, self.shadows, self.pilots, settings.order, self.telemetry, tenants, self.log
        )
        self.completions = Completions(self.monitor, self.shadows, self.pilots, self.log, self.telemetry)
        self.time_slices = TimeSlices()
        self.signer = PredictionSigner(settings, self.time_slices, self.telemetry)
        self.certificates = ServerCertificates(settings.tls)
        self.streams = Streams(settings.limits)
        rate = RateLimit(settings.limits.calls_per_second, settings.limits.call_burst)
        self.interceptor = CallInterceptor(self.telemetry, rate, self.authenticator, settings.limits, self.time_slices)
        self.time_slices.in_flight = lambda: self.interceptor.in_flight
        self.public = Listener(settings, "listen", self.interceptor, self.certificates)
        self.admin = Listener(settings, "admin", self.interceptor, self.certificates) if settings.admin else None
        self.http: HttpServer | None = None
        self.status = self._make_status(tenants)
        self._ticker: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[None] | None = None
        """A look at what other replicas did, while it is under way."""

    def _make_status(self, tenants: TenantCounts) -> Status:
        return Status(
            self.settings,
            self.registry,
            self.monitor,
            self.ranker,
            self.shadows,
            self.pilots,
            self.log,
            tenants,
            self.telemetry,
            lambda: self.streams.draining,
            self.files,
            self.history,
        )

    async def start(self) -> None:
        """Load the ranker, then listen.

        Raises:
            RankdError: naming what is wrong and the remedy; the daemon is stopped then.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop(drain=False)
            raise

    def _register_gauges(self) -> None:
        settings, saved = self.settings, SavingsReports(self.monitor, self.pilots, self.settings)
        gauges = StateGauges(
            settings, self.registry, self.monitor, self.follower, self.certificates.end, self.files, self.pilots
        )
        gauges.register(self.telemetry)
        SavingsGauges(saved, self.registry).register(self.telemetry)

    def _quality_service(self, placements: RecentPlacements) -> QualityService:
        return QualityService(
            self.monitor,
            self.registry,
            self.ranker,
            self.pilots,
            self.settings,
            self.streams,
            self.follower,
            self.files,
            self.time_slices,
            self.telemetry,
            self.history,
            placements,
        )

    async def _start(self) -> None:
        settings = self.settings
        ranker = self.registry.promote((await load_first(self.registry, self.history, settings)).version)
        await self.snapshots.start()
        self._register_gauges()
        steps = StreamSteps(self.ranker, settings, self.time_slices, self.signer)
        placements = RecentPlacements()
        names = add_public(
            self.public,
            RankService(self.ranker, settings, self.streams, steps, self.signer, self.time_slices),
            CompletionService(self.completions, settings, self.telemetry, self.time_slices, self.signer, placements),
            self._quality_service(placements),
        )
        if settings.metrics:
            self.http = HttpServer(
                settings.metrics,
                Views(self.telemetry.registry, self.status.ready, self.status.snapshot, self.status.body),
                settings.http,
                http_connections(settings),
            )
        if self.admin is not None:
            promotion = Promotion(self.registry, self.monitor, self.shadows, self.comparison, settings, self.history)
            service = AdminService(self.registry, promotion, self.monitor, self.pilots, settings, self.streams)
            await self.admin.start(add_admin(self.admin, service))
        await self.public.start(names)
        for file in (self.authenticator.file, self.signer.file, self.certificates.file):
            self.files.add(file)
        self.peers.start()
        self._ticker = asyncio.create_task(self._tick(), name="rankd-tick")
        _log.info(
            "started",
            version=VERSION,
            ranker_version=ranker.version,
            provider=ranker.scorer.provider,
            workers=ranker.scorer.runner.workers,
            listen=f"{settings.listen.rpartition(':')[0]}:{self.public.port}",
            admin=f"{settings.admin.rpartition(':')[0]}:{self.admin.port}" if self.admin else "off",
            metrics=f"http://{settings.metrics.rpartition(':')[0]}:{self.http.port}/" if self.http else "off",
        )

    async def stop(self, *, drain: bool = True) -> None:
        """Shut down: fail health, wait, end streams, let calls end, close the model, flush telemetry."""
        self.registry.stop_loading()
        if drain:
            _log.info("draining", calls=self.interceptor.in_flight)
            for listener in self._listeners():
                await listener.set_ready(False)
            await asyncio.sleep(self.settings.drain_delay)
        await self.peers.close()
        self.streams.drain()
        self.interceptor.drain()
        grace = self.settings.drain_timeout if drain else 0.0
        await self._end_calls(grace)
        if self._ticker is not None:
            self._ticker.cancel()
        self.history.close()
        self.files.close()
        await self.snapshots.close()
        self.shadows.close()
        self.comparison.close()
        self.registry.close()
        self.monitor.close()
        if self.log is not None:
            await _within(_LOG_SECONDS + 1, partial(self.log.close, _LOG_SECONDS))
        if self.http is not None:
            await _within(_HTTP_SECONDS, self.http.close)
        await _within(FLUSH_SECONDS + 1, self.telemetry.shutdown)
        if drain:
            _log.info("stopped")

    async def _end_calls(self, grace: float) -> None:
        """Let calls under way end for at most ``grace`` seconds, and then whatever is connected.

        grpc's own ``stop`` waits for connections: for one that never says anything, or does not answer its goodbye,
        all of the grace.
        """
        listeners = self._listeners()
        stopping = {asyncio.ensure_future(listener.stop(grace)) for listener in listeners}
        end = time.monotonic() + grace
        while stopping and self.interceptor.in_flight and time.monotonic() < end:
            _, stopping = await asyncio.wait(stopping, timeout=0.05)
        if stopping:
            _, stopping = await asyncio.wait(stopping, timeout=_LAST_BYTES)
        if stopping:
            stopping |= {asyncio.ensure_future(listener.stop(0.0)) for listener in listeners}
            _, stopping = await asyncio.wait(stopping, timeout=_LAST_BYTES)
        for left in stopping:
            left.cancel()

    def _listeners(self) -> list[Listener]:
        return [self.public] if self.admin is None else [self.public, self.admin]

    async def _tick(self) -> None:
        """What happens by itself: pins end, figures age, a model that hangs is noticed."""
        while True:
            await asyncio.sleep(_TICK)
            now = CLOCK.now()
            CLOCK.offset()  # notices where the machine's clock was set
            for ranker in self.registry.all():
                if (seconds := ranker.scorer.runner.stalled_for) > _STUCK:
                    self.monitor.still_running(ranker.version, seconds, now)
                ranker.scorer.runner.give_up_after(self.settings.scoring.max_batch_seconds)
            self.monitor.tick(now)
            self.pilots.advance()
            self.history.look()
            if self.http is not None:
                self.status.sample(now)


async def _within(seconds: float, work: Callable[[], None]) -> None:
    """Call in a thread, and go on without it after ``seconds``: all threads may hang, as on a volume that does."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), seconds)
