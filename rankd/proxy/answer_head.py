"""The head of an engine's answer as clients get it: checked, and without the engine's own address. No I/O."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from rankd.proxy.headers import Fields, end_to_end

_LOWEST, _HIGHEST = 200, 599
_NO_BODY = frozenset({204, 304})
_NO_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PLACES = frozenset({b"location", b"content-location"})
_PORTS = {"http": 80, "https": 443}


class BrokenAnswerError(Exception):
    """What came is no answer that could be passed back."""


def to_client(status: int, fields: Fields, base: str) -> list[tuple[bytes, bytes]]:
    """What a client gets of an answer's fields.

    Args:
        status: of the answer.
        fields: as they came.
        base: URL of the engine, without an end of ``/``.

    Raises:
        BrokenAnswerError: the status is none that ends a request (RFC 9110, 15), or a field has bytes that none has.
    """
    if not _LOWEST <= status <= _HIGHEST:
        raise BrokenAnswerError
    kept = end_to_end(fields)
    names = b"".join([name for name, _ in kept])
    if _NO_NAME.search(names) or _NO_VALUE.search(b"".join([value for _, value in kept])):
        raise BrokenAnswerError
    if status in _NO_BODY:  # the length of what it does not bring: the server would wait for it
        kept = [(name, value) for name, value in kept if name.lower() != b"content-length"]
    if b"location" in names.lower():
        engine = urlsplit(base)
        kept = [(name, _for_clients(value, engine) if name.lower() in _PLACES else value) for name, value in kept]
    return kept


def _for_clients(place: bytes, engine: SplitResult) -> bytes:
    """A place at the engine is the same path here: its address is not for clients, who may not reach it either."""
    try:
        parts = urlsplit(place.decode("latin-1"))
        there = (engine.hostname, _port(engine, engine))
        at_engine = not parts.netloc or (parts.hostname, _port(parts, engine)) == there
    except ValueError:
        return place
    if not at_engine or (parts.scheme and parts.scheme not in _PORTS) or not (parts.netloc or parts.path[:1] == "/"):
        return place
    path = parts.path or "/"
    if engine.path and (path + "/").startswith(engine.path + "/"):
        path = path[len(engine.path) :] or "/"
    if path.startswith("//"):  # which would name a host
        path = "/." + path
    rest = ("?" + parts.query if parts.query else "") + ("#" + parts.fragment if parts.fragment else "")
    return (path + rest).encode("latin-1")


def _port(parts: SplitResult, engine: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme or engine.scheme)
