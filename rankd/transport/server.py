"""The gRPC listeners: options, services, health, reflection."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from rankd_client.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    completion_pb2,
    completion_pb2_grpc,
    quality_pb2,
    quality_pb2_grpc,
    rank_pb2,
    rank_pb2_grpc,
)

from rankd.errors import ConfigError
from rankd.settings import LimitsSection, Settings, grpc_connections
from rankd.transport.interceptor import CallInterceptor
from rankd.transport.services.admin import AdminService
from rankd.transport.services.completions import CompletionService
from rankd.transport.services.quality import QualityService
from rankd.transport.services.rank import RankService
from rankd.transport.tls import ServerCertificates

LIVENESS = "liveness"
"""Health service name that is SERVING while the process lives, draining included; "" and the services' own names
say whether calls are answered."""


def options(limits: LimitsSection, connections: int) -> list[tuple[str, int]]:
    """Channel options of a listener that takes so many connections."""
    return [
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Bit 0 is "not compressed": the others are refused with UNIMPLEMENTED before anything is unpacked.
        ("grpc.compression_enabled_algorithms_bitset", 7 if limits.compression else 1),
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_timeout * 1000)),
        ("grpc.keepalive_time_ms", int(limits.keepalive_interval * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Its default lets a second server take the same port silently.
        ("grpc.so_reuseport", 0),
        # Go clients ping idle connections; the default answer is to cut them off.
        ("grpc.keepalive_permit_without_calls", 1),
        # What it allows to receive (GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS), whatever its name says.
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.keepalive_min_interval * 1000)),
        # Connections are renewed, so that new replicas get traffic.
        ("grpc.max_connection_age_ms", int(limits.max_connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", 60_000),
    ]


class WrappedHandlers(grpc.GenericRpcHandler):
    """Takes handlers for a server in its place, and wraps each method's once.

    An interceptor would be asked for the handler again at every call, through coroutines of its own.
    """

    def __init__(self, server: grpc.aio.Server, interceptor: CallInterceptor) -> None:
        """Wrap for a server."""
        self._server = server
        self._interceptor = interceptor
        self._others: list[grpc.GenericRpcHandler] = []
        self._wrapped: dict[str, grpc.RpcMethodHandler] = {}
        server.add_generic_rpc_handlers((self,))

    def add_registered_method_handlers(self, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Serve a service's methods, each of which waits for calls in a line of its own."""
        wrapped = {name: self._interceptor.wrap(each, f"/{service}/{name}") for name, each in handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Ask these for methods that are not registered."""
        self._others.extend(handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method that is not registered, for gRPC; None where there is none."""
        method = handler_call_details.method
        if (known := self._wrapped.get(method)) is not None:
            return known
        for each in self._others:
            if (handler := each.service(handler_call_details)) is not None:
                self._wrapped[method] = self._interceptor.wrap(handler, method)
                return self._wrapped[method]
        self._interceptor.count_unknown()
        return None


class Listener:
    """One gRPC server on one address."""

    def __init__(
        self, settings: Settings, setting: str, interceptor: CallInterceptor, certificates: ServerCertificates
    ) -> None:
        """Prepare to listen on the address in ``setting``."""
        self._certificates = certificates
        self._interceptor = interceptor
        self._settings = settings
        self._setting = setting
        self._server = grpc.aio.server(
            options=options(settings.limits, grpc_connections(settings, admin=setting == "admin")),
        )
        self._handlers = WrappedHandlers(self._server, interceptor)
        self._health = health.aio.HealthServicer()
        self._names: list[str] = []
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._handlers)
        self.port = 0

    @property
    def server(self) -> WrappedHandlers:
        """For the generated ``add_*_to_server`` functions."""
        return self._handlers

    async def start(self, names: list[str]) -> None:
        """Bind, and serve the named services.

        Raises:
            ConfigError: the address cannot be bound, naming the setting.
        """
        address = getattr(self._settings, self._setting)
        self._names = ["", *names]
        shown = (*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(shown), self._handlers
        )
        credentials = self._certificates.credentials()
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise ConfigError(
                f"{self._setting} (RANKD_{self._setting.upper()}): cannot listen on {address}: "
                "is another process there, or is the address not of this machine?"
            )
        self._interceptor.serve(self.port)
        await self._server.start()
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await self.set_ready(True)

    async def set_ready(self, ready: bool) -> None:
        """Say whether calls are answered."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace: float) -> None:
        """Let calls under way end, for at most ``grace`` seconds."""
        await self._server.stop(grace)


def add_public(
    listener: Listener, rank: RankService, completions: CompletionService, quality: QualityService
) -> list[str]:
    """Put the engines' services on a listener; returns their names."""
    rank_pb2_grpc.add_RankServiceServicer_to_server(rank, listener.server)
    completion_pb2_grpc.add_CompletionServiceServicer_to_server(completions, listener.server)
    quality_pb2_grpc.add_QualityServiceServicer_to_server(quality, listener.server)
    return [
        rank_pb2.DESCRIPTOR.services_by_name["RankService"].full_name,
        completion_pb2.DESCRIPTOR.services_by_name["CompletionService"].full_name,
        quality_pb2.DESCRIPTOR.services_by_name["QualityService"].full_name,
    ]


def add_admin(listener: Listener, admin: AdminService) -> list[str]:
    """Put the operators' service on a listener; returns its name."""
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, listener.server)
    return [admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name]
