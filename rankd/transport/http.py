"""Metrics, probes and a page to look at, over plain HTTP, in a thread of their own."""

from __future__ import annotations

import html
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from rankd.config import split_address
from rankd.errors import ConfigError

_MOST_CONNECTIONS = 32
_SLOWEST_REQUEST = 5.0
"""Seconds a client may take to send its request."""

Snapshot = Callable[[], dict[str, Any]]
"""Gives ``ready`` (bool), ``reason`` (str) and ``facts`` (label to text); called in a server thread."""


class HttpServer:
    """Serves ``/metrics``, ``/livez``, ``/readyz`` and ``/``."""

    def __init__(self, address: str, registry: CollectorRegistry, snapshot: Snapshot) -> None:
        """Bind and serve.

        Raises:
            ConfigError: the address cannot be bound.
        """
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        class Handler(_Handler):
            pass

        Handler.registry, Handler.snapshot = registry, staticmethod(snapshot)
        server_type = type("Server", (_Server,), {"address_family": family})
        try:
            self._server = server_type((host, port), Handler)
        except OSError as error:
            raise ConfigError(f"metrics (RANKD_METRICS): cannot listen on {address}: {error.strerror}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="rankd-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # A second daemon must not share the port.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    snapshot: Snapshot
    timeout = _SLOWEST_REQUEST
    server_version = "rankd"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._send(200, encode(self.registry), content_type)
        elif path == "/livez":
            self._send(200, b'{"live": true}\n', "application/json")
        elif path == "/readyz":
            state = self.snapshot()
            body = json.dumps({"ready": state["ready"], "reason": state["reason"]}) + "\n"
            self._send(200 if state["ready"] else 503, body.encode(), "application/json")
        elif path == "/":
            self._send(200, page(self.snapshot()).encode(), "text/html; charset=utf-8")
        else:
            self._send(404, b"rankd serves /, /metrics, /livez and /readyz\n", "text/plain; charset=utf-8")

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Probes and scrapes are not worth a log line."""


_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:42rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #8884;vertical-align:top}
th{font-weight:500;width:40%}
.state{display:inline-block;padding:.1rem .7rem;border-radius:1rem;color:#fff;background:#b3261e}
.ok{background:#1b7f3b}
small{opacity:.75}
"""


def page(state: dict[str, Any]) -> str:
    """The page: one self-contained document, readable on a phone, in light and dark."""
    rows = "".join(
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in state["facts"].items()
    )
    word = "ready" if state["ready"] else state["reason"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>rankd</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">'
        f"<style>{_STYLE}</style></head><body><h1>rankd</h1>"
        f'<p><span class="state{" ok" if state["ready"] else ""}">{html.escape(word)}</span></p>'
        f"<table>{rows}</table>"
        "<p><small>tau: Kendall's tau-b between score and true answer length, 1 is a perfect order, 0 is chance. "
        "Realised gain: share of the mean-latency gain of a perfect order. The page renews itself every 5 s; "
        '<a href="/metrics">metrics</a>, <a href="/readyz">readiness</a>.</small></p></body></html>'
    )
