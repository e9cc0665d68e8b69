"""Channels to one daemon, or to several that stand for each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import grpc

from rankd_client._environment import fatal_variable
from rankd_client._failures import NotConnectedError
from rankd_client._forks import FORKED, grpc_is_dead, grpc_is_used
from rankd_client.v1 import completion_pb2_grpc, quality_pb2_grpc, rank_pb2_grpc

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
STRAIGHT = [
    # Left to itself gRPC takes the variables' proxy for every target, this machine included: a company's web proxy
    # does not know the daemon beside us.
    ("grpc.enable_http_proxy", 0),
    # GRPC_ADDRESS_HTTP_PROXY is another proxy, by addresses: for none.
    ("grpc.address_http_proxy_enabled_addresses", ""),
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


def shown_to(target: str, *, web_proxy: bool) -> str:
    """Who reads what is sent without TLS: the target, or the web proxy before it, which is another machine."""
    return "a web proxy" if web_proxy else target


class Connection:
    """Channels to a daemon, and its calls over them."""

    def __init__(self, api: Any, target: str, tls: TlsConfig | None, *, balance: bool, web_proxy: bool) -> None:
        """Open them; arguments as in ``open_channels``."""
        ranking, other = open_channels(api, target, tls, balance=balance, web_proxy=web_proxy)
        self.channels = {ranking, other}
        self.rank = rank_pb2_grpc.RankServiceStub(ranking).Rank
        # A queue that is told in changes, and all reports of a request, belong to one replica.
        self.stream = rank_pb2_grpc.RankServiceStub(other).RankStream
        self.report = completion_pb2_grpc.CompletionServiceStub(other).ReportCompletions
        self.quality = quality_pb2_grpc.QualityServiceStub(other)


def open_channels(api: Any, target: str, tls: TlsConfig | None, *, balance: bool, web_proxy: bool) -> tuple[Any, Any]:
    """The channel that asks for orders, and the one for everything else; the same where nothing is balanced.

    Args:
        api: ``grpc`` or ``grpc.aio``.
        target: as grpc has it: ``HOST:PORT``, ``dns:///NAME:PORT``, ``ipv4:A:PORT,B:PORT``.
        tls: None for plaintext.
        balance: whether calls take turns over all addresses of the target.
        web_proxy: whether to go through the web proxy that ``grpc_proxy``, ``https_proxy`` or ``http_proxy`` names.

    Raises:
        NotConnectedError: gRPC does not work in this process.
    """
    if not balance:
        one = open_channel(api, target, tls, web_proxy=web_proxy)
        return one, one
    options = [(name, _KEEPALIVE.get(name, value)) for name, value in OPTIONS]
    options += [(name, value) for name, value in _KEEPALIVE.items() if name not in dict(OPTIONS)]
    ranking, other = ([*options, ("grpc.service_config", json.dumps(config))] for config in (_ROUND_ROBIN, _PICK_FIRST))
    return (
        open_channel(api, target, tls, ranking, web_proxy=web_proxy),
        open_channel(api, target, tls, other, web_proxy=web_proxy),
    )


def open_channel(
    api: Any, target: str, tls: TlsConfig | None, options: list[tuple[str, Any]] = OPTIONS, *, web_proxy: bool
) -> Any:
    """One channel; nothing is sent before the first call. Arguments as in ``open_channels``.

    Raises:
        NotConnectedError: gRPC does not work in this process.
    """
    if variable := fatal_variable(system_roots=tls is not None and tls.root_certificates is None):
        raise NotConnectedError("error:ENVIRONMENT", f"{variable} has a value that gRPC ends the process for: unset it")
    if grpc_is_dead():
        raise NotConnectedError("error:FORKED", FORKED)
    grpc_is_used()
    if not web_proxy:
        options = [*options, *STRAIGHT]
    if tls is None:
        return api.insecure_channel(target, options=options)
    return api.secure_channel(target, tls.credentials(), options=options)
