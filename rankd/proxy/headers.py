"""Which header fields a proxy passes on (RFC 9110, 7.6), and which it adds. No I/O."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

from rankd_client.integration import is_priority

Fields = Sequence[tuple[bytes, bytes]]

_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
_OWN = _FORWARDED | {b"host", b"expect"}
_HOST = string.ascii_letters.encode() + string.digits.encode() + b".:_-[]~%!$&'()*+,;="
"""Bytes that a Host may have."""
VIA = b"1.1 rankd"
PRIORITY = b"x-vllm-priority"


def first(fields: Fields, name: bytes) -> bytes | None:
    """The first value of a field; names are lower case."""
    for key, value in fields:  # half of what a generator takes, many times a request
        if key == name:
            return value
    return None


def tokens(fields: Fields, name: bytes) -> set[bytes]:
    """All members of a field that lists, in lower case."""
    return {t.strip().lower() for key, value in fields if key.lower() == name for t in value.split(b",")}


def end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Without those that are for one connection only: the known ones, and what Connection names."""
    names = [key.lower() for key, _ in fields]
    dropped = _HOP | tokens(fields, b"connection") if b"connection" in names else _HOP
    return [field for field, name in zip(fields, names, strict=True) if name not in dropped]


def to_engine(fields: Fields, client: str | None, scheme: str) -> list[tuple[bytes, bytes]]:
    """What an engine gets of a request's fields, names in lower case.

    The Host is the engine's own, which the HTTP client writes; what the client sent is in X-Forwarded-Host. Expect is
    met here: the body is read.
    """
    host = first(fields, b"host")
    kept = [field for field in end_to_end(fields) if field[0] not in _OWN]
    via = [client.encode()] if client else []
    kept.append((b"x-forwarded-for", b", ".join([*_all(fields, b"x-forwarded-for"), *via])))
    kept.append((b"x-forwarded-host", first(fields, b"x-forwarded-host") or host or b""))
    kept.append((b"x-forwarded-proto", first(fields, b"x-forwarded-proto") or scheme.encode()))
    return [*((key, value) for key, value in kept if value or key not in _FORWARDED), (b"via", VIA)]


def with_length(fields: Iterable[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    """With a body's length in place of the one that is there; added where there is none."""
    value = str(length).encode()
    replaced = [(key, value if key == b"content-length" else old) for key, old in fields]
    return replaced if any(key == b"content-length" for key, _ in replaced) else [*replaced, (b"content-length", value)]


def length_of(fields: Fields) -> int | None:
    """The length that a body claims; None where it claims none."""
    value = first(fields, b"content-length")
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else None


def has_body(fields: Fields) -> bool:
    """Whether a request has a body."""
    return bool(length_of(fields)) or first(fields, b"transfer-encoding") is not None


def credential(fields: Fields) -> bytes:
    """What a client shows to be let in; empty where that is nothing."""
    return first(fields, b"authorization") or first(fields, b"x-api-key") or b""


def host_is_wrong(fields: Fields, version: str) -> bool:
    """Whether a request names no host, several, or none that could be (RFC 9112, 3.2); HTTP/1.0 need not name one."""
    hosts = _all(fields, b"host")
    if len(hosts) != 1:
        return bool(hosts) or version != "1.0"
    return bool(hosts[0].translate(None, _HOST))


def asks_for_websocket(fields: Fields) -> bool:
    """Whether a request would have its connection become a WebSocket."""
    if first(fields, b"upgrade") is None or b"upgrade" not in tokens(fields, b"connection"):
        return False
    return b"websocket" in tokens(fields, b"upgrade")


def is_json(fields: Fields) -> bool:
    """Whether a body says that it is JSON: engines refuse other types."""
    kind = (first(fields, b"content-type") or b"").lower().split(b";", 1)[0].strip()
    return kind == b"application/json"


def is_encoded(fields: Fields) -> bool:
    """Whether a body says that it is compressed: engines do not read that field, and take JSON for what it is."""
    return (first(fields, b"content-encoding") or b"identity").strip().lower() != b"identity"


def gives_priority(fields: Fields) -> bool:
    """Whether there is a header that vLLM takes for a priority, before the body's; it ignores what is no integer."""
    return is_priority(first(fields, PRIORITY))


def _all(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]
