"""Channels to one daemon, or to several that stand for each other."""

from __future__ import annotations

import json
from typing import Any

from rankd_client._core import OPTIONS, credentials
from rankd_client.types import TlsConfig

_KEEPALIVE = {
    "grpc.keepalive_time_ms": 8000,
    "grpc.keepalive_timeout_ms": 3000,
    # While a ping that measures bandwidth is under way there is none for keepalive, and this is its time: 60 s.
    "grpc.http2.ping_timeout_ms": 3000,
}
"""A replica that is frozen, or whose machine is gone, is left after 3 to 11 s. Daemons allow a ping every 5 s."""
_TURNS = {
    # A replica that drains says so before it refuses anything: no more calls go to it.
    "healthCheckConfig": {"serviceName": ""},
    "loadBalancingConfig": [{"round_robin": {}}],
}
_ONE = {"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}


def opened(grpc: Any, target: str, tls: TlsConfig | None, *, balance: bool) -> tuple[Any, Any]:
    """The channel that asks for orders, and the one for everything else; the same where nothing is balanced.

    Args:
        grpc: ``grpc`` or ``grpc.aio``.
        target: as grpc has it: ``HOST:PORT``, ``dns:///NAME:PORT``, ``ipv4:A:PORT,B:PORT``.
        tls: None for plaintext.
        balance: whether calls take turns over all addresses of the target.
    """
    if not balance:
        one = _channel(grpc, target, tls, OPTIONS)
        return one, one
    options = [(name, _KEEPALIVE.get(name, value)) for name, value in OPTIONS]
    options += [(name, value) for name, value in _KEEPALIVE.items() if name not in dict(OPTIONS)]
    return (
        _channel(grpc, target, tls, [*options, ("grpc.service_config", json.dumps(_TURNS))]),
        _channel(grpc, target, tls, [*options, ("grpc.service_config", json.dumps(_ONE))]),
    )


def _channel(grpc: Any, target: str, tls: TlsConfig | None, options: list[tuple[str, Any]]) -> Any:
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials(tls), options=options)
