"""Reading where requests' terms stand out of environment variables. Errors say what a value must be."""

from __future__ import annotations

import re
from pathlib import Path

from rankd_client.integration.request_terms import MOST_CLASS

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,3}")
_TIER = re.compile(r"([A-Za-z0-9_-]{1,64})=([+-]?[0-9]{1,4})")
_MOST_TIERS = 32
_SECRET = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})
_TAKEN = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding", "x-vllm-priority"})
_LEAST_KEY, _MOST_KEY = 16, 4096
NONE = "none"


def service_tiers(text: str) -> tuple[tuple[str, int], ...]:
    """Classes by tiers, as ``flex=1,priority=-1``; ``none`` for no tier at all.

    Raises:
        ValueError: it is neither.
    """
    if text == NONE:
        return ()
    found = [_TIER.fullmatch(part.strip()) for part in text.split(",")]
    tiers = {match[1]: int(match[2]) for match in found if match is not None}
    if len(tiers) != len(found) or len(tiers) > _MOST_TIERS or any(abs(n) > MOST_CLASS for n in tiers.values()):
        raise ValueError(
            f"must be tiers and their classes, such as flex=1,priority=-1, each tier once and classes of "
            f"-{MOST_CLASS} to {MOST_CLASS}, or {NONE}, not {text!r}"
        )
    return tuple(tiers.items())


def header_name(text: str) -> bytes:
    """A header's name, in lower case.

    Raises:
        ValueError: it is none, or one of HTTP's own.
    """
    name = text.lower()
    if not _HEADER.fullmatch(name) or name in _TAKEN:
        raise ValueError(f"must be the name of a header of your own, such as x-tenant, not {text!r}")
    if name in _SECRET:
        raise ValueError(f"must not be {text}, which is secret; RANKD_TENANT_KEY_FILE makes tenants of credentials")
    return name.encode()


def header_name_or_none(text: str) -> bytes:
    """A header's name, in lower case; empty for ``none``, which is no header.

    Raises:
        ValueError: it is none, or one of HTTP's own.
    """
    return b"" if text == NONE else header_name(text)


def member_path(text: str) -> str:
    """A member of a body, such as ``user`` or ``metadata.team``.

    Raises:
        ValueError: it is none.
    """
    if not _FIELD.fullmatch(text):
        raise ValueError(f"must be a member of the body, such as user or metadata.team, not {text!r}")
    return text


def tenant_key(path: str) -> bytes:
    """A key out of a file, without the blanks around it.

    Raises:
        ValueError: it cannot be read, or is too short to be kept secret.
    """
    try:
        with Path(path).open("rb") as file:
            key = file.read(_MOST_KEY + 1).strip()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not _LEAST_KEY <= len(key) <= _MOST_KEY:
        raise ValueError(
            f"must hold {_LEAST_KEY} to {_MOST_KEY} bytes of your own, such as `openssl rand -hex 32` makes"
        )
    return key
