"""When a PEM chain is over. Of DER only as much is read as that takes (RFC 5280, section 4.1)."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17


def chain_end(pem: bytes) -> float:
    """When the first certificate of a chain is over, in seconds since the epoch.

    Raises:
        ValueError: there is none, or one that cannot be read.
    """
    return min(not_after(ssl.PEM_cert_to_DER_cert(block.decode("ascii", "replace"))) for block in _PEM.findall(pem))


def not_after(der: bytes) -> float:
    """When a certificate is over, in seconds since the epoch.

    Raises:
        ValueError: it is no certificate.
    """
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    tag, _, after_version = _element(rest)
    if tag == _VERSION:
        rest = after_version
    for _ in ("serial number", "signature algorithm", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity where a certificate has one")
    _, _, rest = _element(validity)
    kind, text, _ = _element(rest)
    return _time(text.decode("ascii"), short=kind == _UTC_TIME)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element: its tag, what it holds, and what comes after it."""
    if len(data) < 2:
        raise ValueError("a certificate ends too early")
    size, start = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(data[2 : 2 + count]), 2 + count
    if len(data) < start + size:
        raise ValueError("a certificate ends too early")
    return data[0], data[start : start + size], data[start + size :]


def _time(text: str, *, short: bool) -> float:
    """UTCTime has two digits for the year: 50 and later are of the last century."""
    if short:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
