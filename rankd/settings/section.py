"""What every section of the settings is made from.

Every number has an upper bound too: beyond it a timer, grpc or the memory would fail, and none would name the setting.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

LONGEST = 2_000_000.0
"""Seconds, 23 days: grpc counts milliseconds in 31 bits."""

_ADDRESS = re.compile(r"(\[(?P<ipv6>[^\[\]\s]+)\]|(?P<host>[^\[\]:\s]+)):(?P<port>[0-9]+)")


class Section(BaseModel):
    """A section of the settings, such as ``order``: unknown names are refused, values never change."""

    # Old pydantic keeps names with "model_" for itself, and warns.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def split_address(address: str) -> tuple[str, int]:
    """Split ``HOST:PORT``; IPv6 hosts in brackets.

    Raises:
        ValueError: where it is neither.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return match["ipv6"] or match["host"], int(match["port"])
