"""The ASGI applications: the proxy itself, and its page of metrics and probes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from rankd.proxy import headers
from rankd.proxy.exchange import Exchange, Scope, Send
from rankd.proxy.metrics import Metrics
from rankd.proxy.refusal import RefusalError
from rankd.proxy.shared import Shared
from rankd.proxy.upload import ClientGoneError, Receive
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
_FRESH = 0.25
"""Seconds for which a page of metrics is shown again: it takes a millisecond or more of everybody's time to make."""


class Proxy:
    """Passes every request on."""

    def __init__(self, shared: Shared, most: int) -> None:
        """Share these between all requests, of which there may be so many at a time."""
        self._shared, self._most = shared, most
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.in_flight += 1
        outcome = "error"
        exchange: Exchange | None = None
        try:
            _check(scope, overloaded=self.in_flight > self._most)
            exchange = Exchange(self._shared, scope, receive, send)
            outcome = await exchange.run()
        except ClientGoneError:
            outcome = "cancelled"
        except RefusalError as refusal:
            outcome = refusal.outcome
            await _refuse(refusal, exchange, send)
        except Exception as error:  # noqa: BLE001 - a bug of ours ends one request, and its text may hold what was sent
            _log.error("internal_error", **describe_error(error))
            await _refuse(RefusalError(500, "internal", "rankd proxy: internal error"), exchange, send)
        finally:
            self.in_flight -= 1
            self._shared.metrics.answers.inc(outcome)


def _check(scope: Scope, *, overloaded: bool) -> None:
    """Refuse what is no request with an answer.

    Raises:
        RefusalError: there are too many; it names no host, or several; it is a tunnel or a WebSocket; or it is for no
            path, as ``OPTIONS *``: behind the engine's address it would name another host.
    """
    if overloaded:
        raise RefusalError(503, "overloaded", "rankd proxy: too many requests at a time", retry_after=1)
    fields = scope["headers"]
    if headers.host_is_wrong(fields, scope["http_version"]):
        raise RefusalError(400, "refused", "rankd proxy: a request has one Host header, which names a host")
    if scope["method"] == "CONNECT" or headers.asks_for_websocket(fields):
        raise RefusalError(501, "refused", "rankd proxy: WebSockets and tunnels are not passed on; go to the engine")
    if not scope["raw_path"].startswith(b"/"):
        raise RefusalError(501, "refused", "rankd proxy: only requests for a path are passed on")


async def _refuse(refusal: RefusalError, exchange: Exchange | None, send: Send) -> None:
    """Answer, unless an answer began: returning within it cuts the connection, so that nobody takes it for whole."""
    if exchange is not None and exchange.started:
        return
    await send({"type": "http.response.start", "status": refusal.status, "headers": refusal.fields})
    await send({"type": "http.response.body", "body": refusal.body, "more_body": False})


class OperationsPages:
    """``/metrics``, ``/livez`` and ``/readyz``, on a listener of their own: no path of the engine's is taken away."""

    def __init__(self, metrics: Metrics, state: Callable[[], dict[str, Any]]) -> None:
        """``state`` gives ``ready`` and what else is worth telling."""
        self._metrics, self._state = metrics, state
        self._pages: dict[str, tuple[float, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        status, kind, body = self._page(scope)
        fields = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        fields += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _page(self, scope: Scope) -> tuple[int, str, bytes]:
        if headers.host_is_wrong(scope["headers"], scope["http_version"]):
            return 400, "text/plain", b"a request has one Host header, which names a host\n"
        if scope["method"] not in {"GET", "HEAD"}:
            return 405, "text/plain", b"GET and HEAD only\n"
        if scope["path"] == "/metrics":
            accept = headers.first(scope["headers"], b"accept") or b""
            encode, kind = _encoder(accept.decode("latin-1"))
            now = time.monotonic()
            made, page = self._pages.get(kind, (-_FRESH, b""))
            if now - made >= _FRESH:
                page = encode(self._metrics.registry)
                self._pages[kind] = now, page
            return 200, kind, page
        if scope["path"] == "/livez":
            return 200, "application/json", b'{"live": true}\n'
        if scope["path"] == "/readyz":
            state = self._state()
            return 200 if state["ready"] else 503, "application/json", json.dumps(state).encode() + b"\n"
        return 404, "text/plain", b"rankd proxy serves /metrics, /livez and /readyz here\n"


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is none, as prometheus_client reads it
        return choose_encoder("")
