"""Builds a proxy, runs it, and drains it."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from types import FrameType
from typing import Any

import aiohttp
import structlog
import uvicorn
from rankd_client.integration import (
    CircuitBreaker,
    IntegrationSettings,
    LateScores,
    PredictionStore,
    Reporter,
    connect,
)

from rankd.errors import ConfigError
from rankd.proxy.app import OperationsPages, Proxy
from rankd.proxy.body_budget import BodyBudget, default_budget
from rankd.proxy.client_connection import ClientConnections, ConnectionLimits
from rankd.proxy.descriptors import allow_many_files, places
from rankd.proxy.engine_connection import EngineConnector
from rankd.proxy.holding_queue import HoldingQueue
from rankd.proxy.metrics import Metrics
from rankd.proxy.paths import EnginePaths
from rankd.proxy.ranking import ProxyRanking
from rankd.proxy.reporting import CompletionTracker
from rankd.proxy.served_models import ServedModels
from rankd.proxy.settings import ProxySettings
from rankd.proxy.shared import Shared
from rankd.proxy.upstream import Upstream
from rankd.proxy.upstream_tls import upstream_tls
from rankd.settings import split_address
from rankd.settings.memory_limit import give_back_memory
from rankd.version import VERSION

_log = structlog.get_logger("rankd")
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Fields that aiohttp would add of its own."""
_PAGE_SECONDS = 5.0
"""For a head or a body, and for an answer to be taken, where probes are served."""


class _DrainingServer(uvicorn.Server):
    """Says on a signal that it drains, and waits a while before it accepts no more."""

    def __init__(self, config: uvicorn.Config, on_signal: Callable[[], float]) -> None:
        super().__init__(config)
        self._on_signal = on_signal
        self._signalled = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._signalled:
            super().handle_exit(sig, frame)  # a second one does not wait
            return
        self._signalled = True
        asyncio.get_running_loop().call_later(self._on_signal(), self.stop)

    def stop(self) -> None:
        """Accept no more, and end once answers under way have."""
        self.should_exit = True


class ProxyServer:
    """One proxy on real ports. ``start``, then ``serve`` until ``stop`` or a signal."""

    def __init__(self, settings: ProxySettings, integration: IntegrationSettings) -> None:
        """Bind the ports.

        Raises:
            ConfigError: an address cannot be bound, or a file for TLS cannot be used.
        """
        self._settings, self._integration = settings, integration
        self._tls = upstream_tls(settings)
        self._sockets = [_bound(settings.listen, "--listen (RANKD_PROXY_LISTEN)")]
        if settings.metrics:
            try:
                self._sockets.append(_bound(settings.metrics, "--metrics (RANKD_PROXY_METRICS)"))
            except ConfigError:
                self._sockets[0].close()
                raise
        self._places = places(settings.max_connections)
        if self._places.main < settings.max_connections:
            reason = f"file descriptors are enough for {self._places.main} requests at a time: raise their limit"
            _log.warning("connections_limited", reason=reason)
        self.port: int = self._sockets[0].getsockname()[1]
        self.metrics_port: int | None = self._sockets[1].getsockname()[1] if settings.metrics else None
        self.metrics = Metrics()
        self._draining = False
        self._servers: list[_DrainingServer] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Open what it needs, and ask the engine what it is.

        Raises:
            ConfigError: the engine answers, and is none that is known.
        """
        settings, integration = self._settings, self._integration
        self._session = _session(settings, self._places.main, self._tls)
        paths = EnginePaths(settings.upstream)
        self._upstream = Upstream(self._session, paths.root, settings.direction)
        self._breaker = CircuitBreaker(integration)
        self._late_scores = LateScores(self.metrics.late_scores)
        self._reporter = Reporter(PredictionStore(), functools.partial(connect, integration), self.metrics.reports)
        try:
            await self._upstream.start()
        except BaseException:
            for bound in self._sockets:
                bound.close()
            await self._close()
            raise
        ranking = ProxyRanking(integration, self._breaker, ServedModels(settings.max_models, integration.model))
        tracker = CompletionTracker(self._reporter, self.metrics, integration.max_body_bytes, ranking.prompt_tokens)
        self.budget = BodyBudget(settings.memory_bytes or default_budget())
        shared = Shared(
            self._session,
            paths,
            self._upstream,
            ranking,
            tracker,
            self.metrics,
            integration.max_body_bytes,
            self.budget,
            HoldingQueue(settings.engine_places),
            self._late_scores,
        )
        self.proxy = Proxy(shared, self._places.main)
        self.metrics.observe(lambda: self.proxy.in_flight, lambda: self._breaker.open, lambda: self._upstream.direction)
        self.metrics.observe_hold_up(ranking.load.hold_up_of_next, lambda: shared.holding.waiting)
        self._tasks.append(asyncio.create_task(tracker.run(settings.progress_every), name="rankd-progress"))
        self._tasks.append(asyncio.create_task(_give_back(self.budget), name="rankd-memory"))

    async def serve(self) -> None:
        """Serve until told to stop, and until what was under way then has ended, or its time is up."""
        settings = self._settings
        for bound in self._sockets:
            bound.listen(self._places.backlog)  # who connects from now on is served
        main = self._server(self.proxy, self._limits())
        self._servers = [main]
        if settings.metrics:
            pages = self._server(OperationsPages(self.metrics, self._state), self._page_limits())
            self._servers.append(pages)
            self._tasks.append(asyncio.create_task(pages._serve(self._sockets[1:]), name="rankd-pages"))  # noqa: SLF001 - its `serve` would take the signals
        _log.info(
            "proxy_started",
            version=VERSION,
            listen=_shown(settings.listen, self.port),
            metrics=_shown(settings.metrics, self.metrics_port) if self.metrics_port else "off",
            upstream=settings.upstream,
            direction=self._upstream.direction,
            target=self._integration.target,
        )
        try:
            await main.serve(self._sockets[:1])
        finally:
            await self._close()
        _log.info("stopped")

    def stop(self) -> None:
        """Drain; from the loop's thread."""
        self._drain()
        self._servers[0].stop()

    def _drain(self) -> float:
        self._draining = True
        _log.info("draining", calls=self.proxy.in_flight)
        return self._settings.drain_delay

    def _limits(self) -> ConnectionLimits:
        settings = self._settings
        return ConnectionLimits(
            self._places.main,
            settings.max_header_bytes,
            settings.client_head_timeout,
            settings.client_body_timeout,
            settings.client_body_rate,
            settings.client_read_timeout,
        )

    def _page_limits(self) -> ConnectionLimits:
        seconds, rate = _PAGE_SECONDS, self._settings.client_body_rate
        most = self._settings.max_header_bytes
        return ConnectionLimits(self._places.pages, most, seconds, seconds, rate, seconds, always_yields=True)

    def _server(self, app: Any, limits: ConnectionLimits) -> _DrainingServer:
        connections = ClientConnections(limits)
        self._tasks.append(asyncio.create_task(connections.watch(), name="rankd-connections"))
        config = uvicorn.Config(
            app,
            workers=1,  # else uvicorn reads WEB_CONCURRENCY, which is for others
            http=connections,  # type: ignore[arg-type] # it is called for each, as a class would be
            log_config=None,
            access_log=False,
            ws="none",
            lifespan="off",
            interface="asgi3",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=self._places.backlog,
            timeout_keep_alive=round(self._settings.client_idle) or 1,
            timeout_graceful_shutdown=round(self._settings.drain_timeout) or 1,
        )
        return _DrainingServer(config, self._drain)

    def _state(self) -> dict[str, Any]:
        return {
            "ready": not self._draining,
            "in_flight": self.proxy.in_flight,
            "direction": self._upstream.direction,
            "daemon": "circuit_open" if self._breaker.open else "asked",
        }

    async def _close(self) -> None:
        for server in self._servers[1:]:
            server.stop()
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.close()
        await self._late_scores.close()
        await self._breaker.close()
        await asyncio.to_thread(self._reporter.close)
        await self._session.close()


def run_proxy(settings: ProxySettings, integration: IntegrationSettings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigError: something cannot be used as it is set; the message names the remedy.
    """
    # uvicorn says these; what matters of them the proxy says itself, and no path or header may be in a log.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    allow_many_files()
    server = ProxyServer(settings, integration)

    async def serve_until_stopped() -> None:
        # uvicorn gives a signal on once it is done: by then it has had its effect.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _nothing)
        await server.start()
        await server.serve()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve_until_stopped())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: it halves what a request costs."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _give_back(budget: BodyBudget) -> None:
    """Let freed memory go back to the system where there was much, until cancelled."""
    while True:
        await asyncio.sleep(1.0)
        if budget.freed_much():
            await asyncio.to_thread(give_back_memory)


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _session(settings: ProxySettings, most: int, tls: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=EngineConnector(
            most,
            idle=settings.upstream_idle,
            rest=settings.upstream_rest,
            ssl=tls,
            patience=settings.upstream_read_timeout,
        ),
        timeout=aiohttp.ClientTimeout(
            total=None,
            connect=settings.connect_timeout,
            sock_connect=settings.connect_timeout,
            sock_read=settings.answer_timeout or None,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_AUTOMATIC,
        trust_env=False,
        read_bufsize=2**16,
        max_line_size=settings.max_header_bytes,
        max_field_size=settings.max_header_bytes,
    )


def _bound(address: str, name: str) -> socket.socket:
    host, port = split_address(address)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = infos[0]
        bound = socket.socket(family, kind, protocol)
        # Accepted connections inherit it: who vanished without a word does not hold a place in the engine for ever.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        raise ConfigError(f"{name}: cannot listen on {address}: {error.strerror}") from None
    return bound


def _shown(address: str, port: int | None) -> str:
    return f"http://{address.rpartition(':')[0]}:{port}"
