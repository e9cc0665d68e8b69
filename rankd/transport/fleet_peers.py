"""Asks the other replicas what they know, every few seconds, beside everything else."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from rankd_client.v1 import quality_pb2

from rankd.auth import Contents, FileWatch, ReloadingFile
from rankd.clock import CLOCK
from rankd.errors import ConfigError, InvalidRequestError
from rankd.fleet.follower import FleetFollower
from rankd.fleet.learning import PAGES_IN_ROUND
from rankd.settings import Settings, peer_targets
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.convert.fleet import from_proto
from rankd.transport.convert.fleet_learned import answer_from_proto, question_to_proto
from rankd.transport.decoding import RequestDecoder
from rankd.transport.time_slices import TimeSlices
from rankd.transport.tls import check_roots

_LONGEST_ANSWER = 2.0
"""Seconds that one peer may take; the others do not wait for it."""
_MOST_BYTES = 4 * 2**20
_MOST_ENTRIES = 2**16
"""Of a repeated field in a peer's answer, before it becomes objects; how many of them count is ``from_proto``'s."""
_METHOD = f"/{quality_pb2.DESCRIPTOR.services_by_name['QualityService'].full_name}/GetFleetShare"
_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}
"""What does not heal by itself, and is logged: a token or its role is wrong, or no rankd of today is there."""
_OPTIONS = [
    # A peer that is back is connected to within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", _MOST_BYTES),
    # Bit 0 is "not compressed": a peer's answer is as large as it seems.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Peers are on this network: a proxy for the outside would only lose them.
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", ""),
]


class FleetPeers:
    """One round of questions after another; ``follower`` gets the answers."""

    def __init__(self, settings: Settings, follower: FleetFollower, telemetry: Telemetry, files: FileWatch) -> None:
        """Nothing is connected yet; ``files`` follows the token and the certificates."""
        self._files = files
        self._token: ReloadingFile[list[tuple[str, str]]] | None = None
        self._roots: ReloadingFile[grpc.ChannelCredentials] | None = None
        self._connected_with: grpc.ChannelCredentials | None = None
        self._settings = settings
        self._fleet = settings.fleet
        self._follower = follower
        self._telemetry = telemetry
        self._all, self._names = peer_targets(settings.fleet.peers)
        self._time_slices = TimeSlices()
        self._decoder = RequestDecoder(quality_pb2.GetFleetShareResponse.FromString, _MOST_ENTRIES, self._time_slices)
        self._instances: dict[str, str] = {}
        """By target, what the replica called itself there last."""
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._myself: set[str] = set()
        self._refusing: set[str] = set()
        self._last_count = 0
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask, if there is anybody.

        Raises:
            ConfigError: a file that is named cannot be read, or does not hold what it should.
        """
        if not self._names:
            return
        for setting in ("token_file", "tls_roots"):
            path: Path | None = getattr(self._fleet, setting)
            if path is not None and not path.is_file():
                raise ConfigError(f"fleet.{setting}: {path} is no file: mount it, or unset it")
        self._follow_files()
        self._task = asyncio.create_task(self._poll_for_ever(), name="rankd-peers")

    def _follow_files(self) -> None:
        if (path := self._fleet.token_file) is not None:
            self._token = ReloadingFile("fleet.token_file", {"fleet.token_file": path}, partial(_token, path))
        if (roots := self._fleet.tls_roots) is not None:
            paths, tls = {"fleet.tls_roots": roots}, self._settings.tls
            if tls.client_ca is not None and tls.private_key is not None and tls.certificate is not None:
                paths |= {"tls.private_key": tls.private_key, "tls.certificate": tls.certificate}
            self._roots = ReloadingFile("fleet.tls_roots", paths, partial(_channel_credentials, roots))
        for file in (self._token, self._roots):
            self._files.add(file)

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._drop(set(self._channels))

    async def _poll_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._round()
                self._failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may do better
                if not self._failing:
                    self._telemetry.peers_failing(error)
                self._failing = True
                with suppress(Exception):  # it was logged
                    # Lost peers age all the same, or guards would follow what they said last for ever.
                    self._follower.round_done()
            await asyncio.sleep(max(0.05, self._fleet.every - (time.monotonic() - began)))

    async def _round(self) -> None:
        await self._renew()
        targets = await self._targets()
        await self._drop(set(self._channels) - set(targets))
        self._myself &= set(targets)
        self._refusing &= set(targets)
        self._instances = {t: i for t, i in self._instances.items() if t in targets}
        metadata = [] if self._token is None else self._token.current
        others = [t for t in targets if t not in self._myself][: self._fleet.max_peers]
        await asyncio.gather(*(self._poll(target, metadata) for target in others))
        self._follower.round_done()
        learning = self._follower.learning
        for batch in learning.batches():
            await self._time_slices.run(learning.learn(batch, CLOCK.now()))
            await learning.settled()
        count = len(self._follower.fleet.live_states(time.monotonic()))
        if count != self._last_count:
            self._last_count = count
            self._telemetry.fleet_changed(count + 1)

    async def _poll(self, target: str, metadata: list[tuple[str, str]]) -> None:
        channel = self._channels.get(target)
        if channel is None:
            channel = self._channels[target] = self._channel(target)
        for _ in range(PAGES_IN_ROUND):
            if not await self._ask(target, channel, metadata):
                return

    async def _ask(self, target: str, channel: grpc.aio.Channel, metadata: list[tuple[str, str]]) -> bool:
        """Ask once; whether there is more to ask for at once."""
        ask = channel.unary_unary(_METHOD, request_serializer=quality_pb2.GetFleetShareRequest.SerializeToString)
        question = self._follower.learning.question(self._instances.get(target))
        try:
            data = await ask(
                question_to_proto(question),
                timeout=min(self._fleet.every, _LONGEST_ANSWER),
                metadata=metadata,
            )
            answer = await self._decoder.decode([data])
            now = CLOCK.now()
            state = from_proto(answer, now, self._settings.quality.max_windows)
            learned = answer_from_proto(answer, now)
        except grpc.aio.AioRpcError as error:
            if error.code() in _REFUSALS and target not in self._refusing:
                self._refusing.add(target)
                self._telemetry.peer_refuses(error.code().name)
            return False  # who does not answer ages
        except (ValueError, InvalidRequestError):
            return False  # who talks nonsense ages, too
        self._refusing.discard(target)
        self._instances[target] = state.instance
        if state.instance == self._follower.fleet.instance:
            self._myself.add(target)
            return False
        self._follower.fleet.receive(state, time.monotonic())
        return self._follower.learning.receive(state.instance, state.learned_key_id, question, learned)

    async def _targets(self) -> list[str]:
        """Addresses to ask. A name that cannot be looked up now keeps those it had."""
        if not self._all:
            return [_joined(host, port) for host, port in self._names]
        host, port = self._names[0]
        try:
            found = await asyncio.wait_for(
                asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM), self._fleet.every
            )
        except (OSError, TimeoutError):
            return list(self._channels)
        return sorted({_joined(str(address[4][0]), port) for address in found})

    # -- channels ------------------------------------------------------------------------------------------------------

    def _channel(self, target: str) -> grpc.aio.Channel:
        if self._connected_with is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        options: list[tuple[str, Any]] = [*_OPTIONS]
        if self._fleet.tls_name:
            options.append(("grpc.ssl_target_name_override", self._fleet.tls_name))
        return grpc.aio.secure_channel(target, self._connected_with, options=options)

    async def _renew(self) -> None:
        """Connect anew where a certificate was renewed."""
        credentials = None if self._roots is None else self._roots.current
        if credentials is not self._connected_with:
            self._connected_with = credentials
            await self._drop(set(self._channels))

    async def _drop(self, targets: set[str]) -> None:
        for target in targets:
            await self._channels.pop(target).close()


def _token(path: Path, contents: Contents) -> list[tuple[str, str]]:
    """What goes along with a question."""
    token = contents["fleet.token_file"].decode("latin-1").strip()
    if not token or not all("!" <= c <= "~" for c in token):
        raise ConfigError(f"fleet.token_file: {path} must hold one token, of visible ASCII characters")
    return [("authorization", f"Bearer {token}")]


def _channel_credentials(path: Path, contents: Contents) -> grpc.ChannelCredentials:
    roots = contents["fleet.tls_roots"]
    check_roots(roots, path, "fleet.tls_roots")
    return grpc.ssl_channel_credentials(roots, contents.get("tls.private_key"), contents.get("tls.certificate"))


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
