"""Which path the engine gets for a client's, and by it what the engine serves there. No I/O.

Routes are told by the path that the engine gets, whatever goes before the API's own: a path in ``--upstream``, what an
ingress leaves, vLLM's ``--root-path``. Gateways fold doubled slashes and dots, so that those count as they are folded:
a request that is ranked and not served costs nothing, one that is served and not ranked jumps the queue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from rankd_client.integration import Route

ARRIVAL_ONLY: Mapping[str, tuple[str, ...]] = {
    "vllm": ("/v1/chat/completions/batch", "/inference/v1/generate", "/invocations"),
    "sglang": ("/generate",),
}
"""By engine, further endpoints whose bodies take a priority: they get that of their arrival."""
_ROUTES = {route.value: route for route in Route}
_VERSION = "/v1"
_LEADING_VERSION = re.compile(r"\A/+v1(?=/|\Z)")


class EnginePaths:
    """Paths of the engine behind a URL. A ``/v1`` at the URL's end, as in an OpenAI client's, is not put twice."""

    def __init__(self, upstream: str) -> None:
        """``upstream``: scheme, host and port, and a path that goes before those of requests."""
        self.base = upstream.rstrip("/")
        """The URL as it was given, without a slash at its end."""
        self._prefix = unquote(urlsplit(self.base).path)
        self._versioned = self._prefix.endswith(_VERSION)
        self.root = self.base.removesuffix(_VERSION) if self._versioned else self.base
        """The URL before which the engine's own pages are: ``/v1/models``, ``/metrics`` and the like."""

    def url(self, raw_path: bytes, query: bytes) -> str:
        """What is asked of the engine, encoded as the client encoded it; both in ASCII."""
        path = self._without_version(raw_path.decode("ascii"))
        return f"{self.base}{path}?{query.decode('ascii')}" if query else self.base + path

    def route(self, method: str, path: str) -> Route | None:
        """The endpoint that serves a request for a client's decoded path; None for one that is left alone."""
        if method != "POST":
            return None
        if not self._prefix and (known := _ROUTES.get(path)) is not None:  # nearly always
            return known
        served = self._served(path)
        return next((route for end, route in _ROUTES.items() if served.endswith(end)), None)

    def takes_priority(self, engine: str, method: str, path: str) -> bool:
        """Whether the endpoint is one that gets its arrival's priority, unread."""
        return method == "POST" and self._served(path).endswith(ARRIVAL_ONLY.get(engine, ()))

    def _served(self, path: str) -> str:
        """The path that the engine gets, folded."""
        return _folded(self._prefix + self._without_version(path))

    def _without_version(self, path: str) -> str:
        """A client's path without a ``/v1`` that the URL has already."""
        return _LEADING_VERSION.sub("", path, count=1) if self._versioned else path


def endpoint_at_end(path: str) -> str:
    """The endpoint that a path of an engine's URL ends in, by mistake; empty where it ends in none."""
    folded = _folded(path)
    return next((end.removeprefix(_VERSION) for end in (*_ROUTES, "/v1/models") if folded.endswith(end)), "")


def _folded(path: str) -> str:
    """Without doubled slashes, dots, and a slash at its end."""
    if "//" not in path and "/." not in path and not path.endswith("/"):
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in {"", "."}:
            kept.append(part)
    return "/" + "/".join(kept)
