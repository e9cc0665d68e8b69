"""Channels to one daemon, or to several that stand for each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import grpc

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT = 0.05
"""Seconds that asking for an order may take."""
OPTIONS = [
    # After a daemon's restart the client is back within about a second instead of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
    # A retry would outlive the deadline; a fallback is at hand.
    ("grpc.enable_retries", 0),
]
_KEEPALIVE = {
    "grpc.keepalive_time_ms": 8000,
    "grpc.keepalive_timeout_ms": 3000,
    # While a ping that measures bandwidth is under way there is none for keepalive, and this is its time: 60 s.
    "grpc.http2.ping_timeout_ms": 3000,
}
"""A replica that is frozen, or whose machine is gone, is left after 3 to 11 s. Daemons allow a ping every 5 s."""
_ROUND_ROBIN = {
    # A replica that drains says so before it refuses anything: no more calls go to it.
    "healthCheckConfig": {"serviceName": ""},
    "loadBalancingConfig": [{"round_robin": {}}],
}
_PICK_FIRST = {"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS by PEM bytes. Without roots the system's are trusted; a certificate and its key are for mutual TLS."""

    root_certificates: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """As grpc takes it."""
        return grpc.ssl_channel_credentials(self.root_certificates, self.private_key, self.certificate)


def open_channels(api: Any, target: str, tls: TlsConfig | None, *, balance: bool) -> tuple[Any, Any]:
    """The channel that asks for orders, and the one for everything else; the same where nothing is balanced.

    Args:
        api: ``grpc`` or ``grpc.aio``.
        target: as grpc has it: ``HOST:PORT``, ``dns:///NAME:PORT``, ``ipv4:A:PORT,B:PORT``.
        tls: None for plaintext.
        balance: whether calls take turns over all addresses of the target.
    """
    if not balance:
        one = open_channel(api, target, tls)
        return one, one
    options = [(name, _KEEPALIVE.get(name, value)) for name, value in OPTIONS]
    options += [(name, value) for name, value in _KEEPALIVE.items() if name not in dict(OPTIONS)]
    return (
        open_channel(api, target, tls, [*options, ("grpc.service_config", json.dumps(_ROUND_ROBIN))]),
        open_channel(api, target, tls, [*options, ("grpc.service_config", json.dumps(_PICK_FIRST))]),
    )


def open_channel(api: Any, target: str, tls: TlsConfig | None, options: list[tuple[str, Any]] = OPTIONS) -> Any:
    """One channel; nothing is sent before the first call. Arguments as in ``open_channels``."""
    if tls is None:
        return api.insecure_channel(target, options=options)
    return api.secure_channel(target, tls.credentials(), options=options)
