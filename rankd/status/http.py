"""Metrics, probes and a page to look at, over plain HTTP, in a thread of their own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, get_args
from urllib.parse import parse_qs

import structlog
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from rankd.errors import ConfigError
from rankd.settings import split_address
from rankd.status.history import SpanName
from rankd.status.page import ASSETS, live_page
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
_MOST_CONNECTIONS = 32
_SLOWEST_REQUEST = 5.0
"""Seconds a client may be silent."""
_LONGEST_CONNECTION = 10.0
"""Seconds for all of a request and its answer: a client that sends a byte now and then is never silent."""

_TEXT, _JSON, _HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
_MOST_PARAMETERS = 8
_PATHS = "/, /status.json, /metrics, /livez and /readyz"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What the page may load and do: its own script, style and icon, and ask its own daemon. It makes no HTML of text."""
_FIXED = {"/livez": (b'{"live": true}\n', _JSON), **ASSETS}

Snapshot = Callable[[], dict[str, Any]]
"""Gives ``ready`` (bool), ``reason`` (str) and ``facts`` (label to text); called in a server thread."""

StatusJson = Callable[[str, SpanName], bytes]
"""Gives the JSON that the page shows, by the id of a window and how far back; called in a server thread."""


class HttpServer:
    """Serves the page at ``/`` with what it needs, ``/status.json``, ``/metrics``, ``/livez`` and ``/readyz``."""

    def __init__(self, address: str, registry: CollectorRegistry, snapshot: Snapshot, status: StatusJson) -> None:
        """Bind and serve.

        Raises:
            ConfigError: the address cannot be bound.
        """
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        class Handler(_Handler):
            pass

        Handler.registry, Handler.snapshot, Handler.status = registry, staticmethod(snapshot), staticmethod(status)
        server_type = type("Server", (_StatusServer,), {"address_family": family})
        try:
            self._server = server_type((host, port), Handler)
        except OSError as error:
            raise ConfigError(f"metrics (RANKD_METRICS): cannot listen on {address}: {error.strerror}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="rankd-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@dataclass(slots=True)
class _HttpConnection:
    end: float
    """By the monotonic clock."""
    requested: bool = False


class _StatusServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    block_on_close = False
    # A second daemon must not share the port.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, _HttpConnection] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host name up, which takes seconds where there is no DNS.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            admitted = len(self._open) < _MOST_CONNECTIONS or self._make_room()
            if admitted:
                self._open[request] = _HttpConnection(time.monotonic() + _LONGEST_CONNECTION)
        if admitted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def _make_room(self) -> bool:
        """Cut the oldest connection that has not asked anything: a probe asks at once, who holds places does not."""
        for request, connection in self._open.items():
            if not connection.requested:
                self._cut(request)
                return True
        return False

    def _cut(self, request: socket.socket) -> None:
        """End a connection; its handler's thread reads an end, and closes it. The caller has the lock.

        Under the lock, so that this thread cannot close a socket, and another open with its number, first.
        """
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def note_request(self, request: Any) -> None:
        """Note that a whole request is there: it gets its answer, however many come after it."""
        with self._lock:
            if (connection := self._open.get(request)) is not None:
                connection.requested = True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        now = time.monotonic()
        with self._lock:
            for request in [r for r, c in self._open.items() if c.end < now]:
                self._cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    snapshot: Snapshot
    status: StatusJson
    server: _StatusServer
    timeout = _SLOWEST_REQUEST
    server_version = "rankd"
    sys_version = ""

    def parse_request(self) -> bool:
        whole = super().parse_request()
        if whole:
            self.server.note_request(self.connection)
        return whole

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        try:
            answer = self._answer(path, query)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a page, a probe must get an answer
            _log.error("internal_error", method=f"GET {path}", **describe_error(error))
            answer = 500, b"internal error in rankd; its log has the trace\n", _TEXT
        self._send(*answer)

    def _answer(self, path: str, query: str) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            return 200, encode(self.registry), content_type
        if path == "/readyz":
            state = self.snapshot()
            body = json.dumps({"ready": state["ready"], "reason": state["reason"]}) + "\n"
            return 200 if state["ready"] else 503, body.encode(), _JSON
        if path == "/":
            return 200, live_page(self.snapshot()).encode(), _HTML
        if path in _FIXED:
            return 200, *_FIXED[path]
        if path == "/status.json":
            return self._status(query)
        return 404, f"rankd serves {_PATHS}\n".encode(), _TEXT

    def _status(self, query: str) -> tuple[int, bytes, str]:
        try:
            parameters = parse_qs(query, max_num_fields=_MOST_PARAMETERS)
        except ValueError:
            return 400, b"at most %d parameters\n" % _MOST_PARAMETERS, _TEXT
        named = parameters.get("span", ["short"])[-1]
        span = next((s for s in get_args(SpanName) if s == named), None)
        if span is None:
            return 400, b"span: must be short or long\n", _TEXT
        return 200, self.status(parameters.get("window", [""])[-1], span), _JSON

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def _refuse(self) -> None:
        self._send(405, b"GET and HEAD only\n", _TEXT, Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815 - as above

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP. http.server's own page would show what was sent."""
        del message, explain
        # What it could not parse, it did not set.
        self.command = getattr(self, "command", None) or "GET"
        self.close_connection = True
        self._send(code, b"bad request\n", _TEXT)

    def _send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY if content_type == _HTML else "default-src 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Probes and scrapes are not worth a log line."""
