"""The composition root: builds everything, starts, drains, stops. The only file that knows all rooms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import structlog

from rankd.completion_log import open_log
from rankd.fleet.follower import FleetFollower
from rankd.fleet.membership import FleetMembership
from rankd.monitor.monitor import Monitor
from rankd.monitor.snapshot import Snapshots
from rankd.monitor.window import Window
from rankd.pilot.live import LivePilots
from rankd.quality.statistics.pair_counters import counters
from rankd.ranking.ranker import Ranker
from rankd.ranking.tenant_counts import TenantCounts
from rankd.registry.bundled import DEFAULT_RANKER, ranker_path
from rankd.registry.comparison import RankerComparison
from rankd.registry.loaded import Registry
from rankd.registry.promotion import Promotion
from rankd.registry.shadow import ShadowRankers
from rankd.scoring.onnx_model import wanted_provider
from rankd.settings.load import Settings
from rankd.status.http import HttpServer
from rankd.status.status import Status
from rankd.telemetry.catalogue import READ_ELSEWHERE
from rankd.telemetry.redaction import describe_error
from rankd.telemetry.telemetry import Telemetry, one_hot
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
from rankd.transport.tls import CertificateExpiry
from rankd.version import VERSION

_log = structlog.get_logger("rankd")
_TICK = 1.0
_LOG_SECONDS = 10.0
"""What a shutdown waits for the completion log, whatever its store does."""
_STUCK = 5.0
"""Seconds after which a batch that still runs counts as evidence against the ranker."""


class App:
    """One running daemon. ``start`` once, ``stop`` once, both on one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Build the rooms; nothing listens yet."""
        self.settings = settings
        self.telemetry = Telemetry(VERSION)
        self.authenticator = Authenticator(settings, self.telemetry)
        self.monitor = Monitor(settings, self.telemetry)
        self.registry = Registry(settings.provider, settings.scoring, self.monitor, self.telemetry)
        self.shadows = ShadowRankers(self.registry, settings.promotion, self.telemetry)
        self.log = open_log(settings.completion_log, self.telemetry)
        self.judge = RankerComparison(self.registry, self.shadows, self.log, settings, self.telemetry)
        self.snapshots = Snapshots(settings, self.monitor, self.telemetry)
        fleet = FleetMembership(settings.fleet, senior_since=time.time_ns(), began=time.monotonic())
        self.follower = FleetFollower(fleet, self.monitor, settings)
        self.peers = FleetPeers(settings, self.follower, self.telemetry)
        self.pilots = LivePilots(self.telemetry)
        tenants = TenantCounts(settings.page.tenants)
        self.ranker = Ranker(
            self.registry, self.monitor, self.shadows, self.pilots, settings.order, self.telemetry, tenants
        )
        self.time_slices = TimeSlices()
        self.signer = PredictionSigner(settings, self.time_slices, self.telemetry)
        self.certificate_expiry = CertificateExpiry(settings.tls)
        self.streams = Streams(settings.limits)
        rate = RateLimit(settings.limits.calls_per_second, settings.limits.call_burst)
        self.interceptor = CallInterceptor(self.telemetry, rate, self.authenticator)
        self.public = Listener(settings, "listen", self.interceptor)
        self.admin = Listener(settings, "admin", self.interceptor) if settings.admin else None
        self.http: HttpServer | None = None
        self.status = Status(
            settings,
            self.registry,
            self.monitor,
            self.ranker,
            self.shadows,
            self.pilots,
            self.log,
            tenants,
            self.telemetry,
            lambda: self.streams.draining,
        )
        self._ticker: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None

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

    async def _start(self) -> None:
        settings = self.settings
        ranker = await self.registry.load(ranker_path(str(settings.ranker or DEFAULT_RANKER)))
        self.registry.promote(ranker.version)
        await self.snapshots.start()
        self._observe()
        steps = StreamSteps(self.ranker, self.log, settings, self.time_slices, self.signer)
        names = add_public(
            self.public,
            RankService(self.ranker, self.log, settings, self.streams, steps, self.signer),
            CompletionService(
                self.monitor,
                self.shadows,
                self.pilots,
                self.log,
                settings,
                self.telemetry,
                self.time_slices,
                self.signer,
            ),
            QualityService(
                self.monitor, self.registry, self.ranker, self.pilots, settings, self.streams, self.follower
            ),
        )
        if settings.metrics:
            self.http = HttpServer(settings.metrics, self.telemetry.registry, self.status.snapshot, self.status.body)
        if self.admin is not None:
            promotion = Promotion(self.registry, self.monitor, self.shadows, self.judge, settings)
            service = AdminService(self.registry, promotion, self.monitor, self.pilots, settings, self.streams)
            await self.admin.start(add_admin(self.admin, service))
        await self.public.start(names)
        self.peers.start()
        self._ticker = asyncio.create_task(self._tick(), name="rankd-tick")
        self._reader = asyncio.create_task(self._follow(), name="rankd-files")
        _log.info(
            "started",
            version=VERSION,
            ranker_version=ranker.version,
            provider=ranker.scorer.provider,
            listen=f"{settings.listen.rpartition(':')[0]}:{self.public.port}",
            admin=f"{settings.admin.rpartition(':')[0]}:{self.admin.port}" if self.admin else "off",
            metrics=f"http://{settings.metrics.rpartition(':')[0]}:{self.http.port}/" if self.http else "off",
        )

    async def stop(self, *, drain: bool = True) -> None:
        """Shut down: fail health, wait, end streams, let calls end, close the model, flush telemetry."""
        if drain:
            _log.info("draining", calls=self.interceptor.in_flight)
            for listener in self._listeners():
                await listener.set_ready(False)
            await asyncio.sleep(self.settings.drain_delay)
        await self.peers.close()
        self.streams.drain()
        self.interceptor.drain()
        grace = self.settings.drain_timeout if drain else 0.0
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners()))
        for task in (self._ticker, self._reader):
            if task is not None:
                task.cancel()
        await self.snapshots.close()
        self.shadows.close()
        self.judge.close()
        self.registry.close()
        self.monitor.close()
        if self.log is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.log.close, _LOG_SECONDS)
        if self.http is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.http.close)
        await asyncio.get_running_loop().run_in_executor(None, self.telemetry.shutdown)
        if drain:
            _log.info("stopped")

    def _listeners(self) -> list[Listener]:
        return [self.public] if self.admin is None else [self.public, self.admin]

    async def _tick(self) -> None:
        """What happens by itself: pins end, figures age, a model that hangs is noticed."""
        while True:
            await asyncio.sleep(_TICK)
            now = time.time()
            for ranker in self.registry.all():
                if (seconds := ranker.scorer.feed.running_for) > _STUCK:
                    self.monitor.still_running(ranker.version, seconds, now)
            self.monitor.tick(now)
            self.pilots.advance(now)
            if self.http is not None:
                self.status.sample(now)

    async def _follow(self) -> None:
        """Read files of secrets again when they change, in a thread: a volume may be slow."""
        while True:
            await asyncio.sleep(_TICK)
            await asyncio.get_running_loop().run_in_executor(None, self._look)

    def _look(self) -> None:
        for look in (self.authenticator.look, self.signer.look):
            try:
                look()
            except Exception as error:  # noqa: BLE001 - a token that is taken back later must still be seen
                _log.error("internal_error", **describe_error(error))

    # -- what metrics show ---------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        observe = self.telemetry.observe
        observe("rankd.queue.prompts", lambda: [(float(sum(s.queued_prompts for s in self._scorers())), {})])
        observe("rankd.queue.tokens", lambda: [(float(sum(s.queued_tokens for s in self._scorers())), {})])
        observe("rankd.cache.entries", lambda: [(float(sum(s.cached_scores for s in self._scorers())), {})])
        observe("rankd.ranker.info", self._ranker_info)
        observe("rankd.tls.certificate_expiry", self._certificate_end)
        wanted: dict[str, str] = {"provider": wanted_provider(self.settings.provider)}
        observe("rankd.provider.wanted", lambda: [(1.0, wanted)])
        observe("rankd.order.trust", self._trusts)
        observe("rankd.order.patience", self._patiences)
        observe("rankd.guard.mode", lambda: [o for v in self._windows() for o in one_hot(v.guard.mode, _labels(v))])
        observe(
            "rankd.guard.pinned",
            lambda: [(float(v.guard.pinned_until is not None), _labels(v)) for v in self._windows()],
        )
        if (guard := self.settings.guard).enabled:
            observe("rankd.guard.floor", lambda: [(guard.floor, {})])
            observe("rankd.guard.return", lambda: [(guard.floor + guard.margin, {})])
        observe("rankd.quality.tau", lambda: self._bounds("tau"))
        observe("rankd.quality.realised_gain", lambda: self._bounds("realised_gain"))
        observe("rankd.quality.decided_pair_share", self._decided)
        observe("rankd.fleet.replicas", lambda: [(float(self.follower.replicas), {})])
        for name in READ_ELSEWHERE:
            observe(name, partial(self._compared, name))

    def _scorers(self) -> list[Any]:
        return [r.scorer for r in self.registry.all()]

    def _windows(self) -> list[Window]:
        return self.monitor.reported_windows() or [self.monitor.base(self.registry.in_service.version)]

    def _ranker_info(self) -> list[tuple[float, dict[str, str]]]:
        ranker = self.registry.in_service
        return [(1.0, {"ranker_version": ranker.version, "provider": ranker.scorer.provider})]

    def _certificate_end(self) -> list[tuple[float, dict[str, str]]]:
        end = self.certificate_expiry.end()
        return [] if end is None else [(end, {})]

    def _bounds(self, name: str) -> Iterator[tuple[float, dict[str, str]]]:
        for window in self._windows():
            if window.estimate is not None and (bounded := getattr(window.estimate, name)) is not None:
                for bound in ("value", "low", "high"):
                    yield getattr(bounded, bound), {**_labels(window), "bound": bound}

    def _decided(self) -> Iterator[tuple[float, dict[str, str]]]:
        for window in self._windows():
            if window.estimate is not None and window.estimate.decided_pair_share is not None:
                yield window.estimate.decided_pair_share, _labels(window)

    def _compared(self, metric: str) -> Iterator[tuple[float, dict[str, str]]]:
        for window in self.monitor.reported_windows():
            for name, labels, value in counters(window.tracker.compared.totals):
                if name == metric:
                    yield value, _labels(window) | labels

    def _trusts(self) -> Iterator[tuple[float, dict[str, str]]]:
        for window in self._windows():
            yield self.monitor.trust(window.model, window.ranker_version).level, _labels(window)

    def _patiences(self) -> Iterator[tuple[float, dict[str, str]]]:
        for window in self._windows():
            if window.load.patience is not None:
                yield window.load.patience, _labels(window)


def _labels(window: Window) -> dict[str, str]:
    return {"model": window.model, "ranker_version": window.ranker_version}
