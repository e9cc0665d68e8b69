"""What the metrics port answers: probes at once, all else made in a thread."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args
from urllib.parse import parse_qs

import structlog
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from rankd.status.history import SpanName
from rankd.status.http_request import HTML, JSON, HttpAnswer, HttpRequest
from rankd.status.paced_builds import PacedBuilds
from rankd.status.page import ASSETS, live_page
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
_MOST_PARAMETERS = 8
_CROWDED_AGE = 2.0
"""Seconds that a page may be old where many ask at once, so that nobody holds a place in order to wait for the next."""
_FIXED = {"/livez": (b'{"live": true}\n', JSON), **ASSETS}
_PATHS = "/, /status.json, /metrics, /livez and /readyz"
_BUILT = ("/", "/status.json", "/metrics")
_OPENMETRICS = "application/openmetrics-text"
_GZIP = 31
"""zlib's window of 15 bits, plus 16 for gzip's head (zlib.h, deflateInit2)."""


@dataclass(frozen=True, slots=True)
class Views:
    """What pages are made of, called in threads of the server's. ``ready`` must be quick: probes wait for it."""

    registry: CollectorRegistry
    ready: Callable[[], tuple[bool, str]]
    """Whether calls are welcome, and why not."""
    snapshot: Callable[[], dict[str, Any]]
    """``ready``, ``reason`` and ``facts`` (label to text)."""
    status: Callable[[str, SpanName], bytes]
    """The JSON that the page shows, by the id of a window and how far back."""


class Pages:
    """The pages of one server."""

    def __init__(self, views: Views) -> None:
        """Take what they are made of."""
        self._views = views
        self._builds = {path: PacedBuilds() for path in _BUILT}

    def quick(self, request: HttpRequest) -> HttpAnswer | None:
        """The answer where it costs next to nothing, as a probe's; None where it must be made."""
        if request.method not in ("GET", "HEAD"):
            return HttpAnswer(405, b"GET and HEAD only\n", headers={"Allow": "GET, HEAD"})
        if request.path == "/readyz":
            try:
                ready, reason = self._views.ready()
            except Exception as error:  # noqa: BLE001 - whatever is wrong, a probe must get an answer
                return _bug(request, error)
            body = json.dumps({"ready": ready, "reason": reason}) + "\n"
            return HttpAnswer(200 if ready else 503, body.encode(), JSON)
        if request.path in _FIXED:
            return HttpAnswer(200, *_FIXED[request.path])
        if request.path not in _BUILT:
            return HttpAnswer(404, f"rankd serves {_PATHS}\n".encode())
        return None

    async def build(self, request: HttpRequest, *, crowded: bool) -> HttpAnswer:
        """The answer that ``quick`` has none for; where it is crowded, one of a moment ago."""
        age = _CROWDED_AGE if crowded else 0.0
        try:
            if request.path == "/metrics":
                return await self._metrics(request, age)
            if request.path == "/status.json":
                return await self._status(request, age)
            page = await self._builds["/"].get("", lambda: live_page(self._views.snapshot()).encode(), age=age)
            return HttpAnswer(200, page, HTML)
        except Exception as error:  # noqa: BLE001 - as above
            return _bug(request, error)

    async def _metrics(self, request: HttpRequest, age: float) -> HttpAnswer:
        # By the two formats that there are, not by all ways to ask for them: each is made for itself.
        asked = request.headers.get("accept", "")
        encode, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in asked else "")
        zipped = _takes_gzip(request.headers.get("accept-encoding", ""))

        def make() -> bytes:
            data = encode(self._views.registry)
            return zlib.compress(data, 1, _GZIP) if zipped else data

        body = await self._builds["/metrics"].get((content_type, zipped), make, age=age)
        headers = {"Vary": "Accept, Accept-Encoding"} | ({"Content-Encoding": "gzip"} if zipped else {})
        return HttpAnswer(200, body, content_type, headers)

    async def _status(self, request: HttpRequest, age: float) -> HttpAnswer:
        try:
            parameters = parse_qs(request.query, max_num_fields=_MOST_PARAMETERS)
        except ValueError:
            return HttpAnswer(400, b"at most %d parameters\n" % _MOST_PARAMETERS)
        named = parameters.get("span", ["short"])[-1]
        span = next((s for s in get_args(SpanName) if s == named), None)
        if span is None:
            return HttpAnswer(400, b"span: must be short or long\n")
        window = parameters.get("window", [""])[-1]
        make = partial(self._views.status, window, span)
        return HttpAnswer(200, await self._builds["/status.json"].get((window, span), make, age=age), JSON)


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is among what a client takes (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _bug(request: HttpRequest, error: Exception) -> HttpAnswer:
    _log.error("internal_error", method=f"GET {request.path}", **describe_error(error))
    return HttpAnswer(500, b"internal error in rankd; its log has the trace\n")
