"""The connections of this process by the peer: how much came over one, and how to cut it.

With gRPC neither can be done. Parts of messages are in its buffers, however many, and an answer that nobody reads stays
there for as long as the connection lives.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

_BYTES_RECEIVED = struct.Struct("@128xQ")
"""``tcpi_bytes_received`` in Linux' ``struct tcp_info``."""
_MAPPED = "::ffff:"
_DESCRIPTORS = Path("/proc/self/fd")
_REST = 50
"""Times as long as it took to look at all descriptors until that is done again: thousands take many milliseconds."""


class TcpConnections:
    """Counts what comes over connections to some ports, and cuts them; remembers their descriptors.

    By port, too: a client may well have another connection of the same address and port, to the metrics port for one.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.ports: set[int] = set()
        """Whose connections these are; all others are left alone."""
        self._descriptors: dict[str, list[int]] = {}
        self._rested = 0.0

    def received(self, peers: set[str]) -> dict[str, int | None]:
        """Bytes that peers have sent over the lives of their connections; None where that cannot be told.

        Without peers that are not known yet, and are not looked for now.
        """
        looked = not peers <= self._descriptors.keys() and self._find(peers)
        found: dict[str, int | None] = {}
        for peer in peers:
            numbers = self._descriptors.get(peer)
            if numbers is None:
                if looked:
                    found[peer] = None
                continue
            counts = [_received(number, peer) for number in numbers]
            if None in counts:
                found[peer] = None
                del self._descriptors[peer]  # closed, and the number perhaps given to another one
            else:
                found[peer] = sum(filter(None, counts))
        return found

    def cut(self, peers: set[str]) -> int:
        """End the connections of peers and all that is sent over them, at once; how many there were."""
        ended = 0
        for peer, number in self._open():
            if peer in peers:
                # A descriptor of our own: gRPC's may be closed, and given to another connection, at any moment.
                with suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
                    if _name_of(connection) == peer and _local_port(connection) in self.ports:
                        connection.shutdown(socket.SHUT_RDWR)
                        ended += 1
        return ended

    def _find(self, peers: set[str]) -> bool:
        """Look for the descriptors of peers; False while connections come and go so fast that it is not done again."""
        began = time.monotonic()
        if began < self._rested:
            return False
        self._descriptors = {}
        for peer, number in self._open():
            if peer in peers:
                self._descriptors.setdefault(peer, []).append(number)
        took = time.monotonic() - began
        self._rested = began + took * _REST
        return True

    def _open(self) -> list[tuple[str, int]]:
        """Connections to the ports: the peer, and the descriptor. None where the system does not show them."""
        found: list[tuple[str, int]] = []
        try:
            numbers = [int(entry.name) for entry in _DESCRIPTORS.iterdir()]
        except OSError:  # it is not Linux, or no descriptor is left to look with
            return found
        for number in numbers:
            with suppress(OSError), _borrowed(number) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6) and _local_port(connection) in self.ports:
                    found.append((_name_of(connection), number))
        return found


@lru_cache(maxsize=4096)
def peer_name(peer: str) -> str:
    """A peer's name in gRPC (``ipv6:%5B::1%5D:50051``), as address and port."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return f"{host.strip('[]').removeprefix(_MAPPED)}:{port}"


@contextmanager
def _borrowed(number: int) -> Iterator[socket.socket]:
    """A socket around a descriptor that is gRPC's, and stays open."""
    connection = socket.socket(fileno=number)
    try:
        yield connection
    finally:
        connection.detach()


def _received(number: int, peer: str) -> int | None:
    """Bytes that came over a descriptor; None where it is not the peer's any more."""
    with suppress(OSError), _borrowed(number) as connection:
        if _name_of(connection) == peer:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
            if len(info) == _BYTES_RECEIVED.size:
                count: int = _BYTES_RECEIVED.unpack(info)[0]
                return count
    return None


def _local_port(connection: socket.socket) -> int:
    port: int = connection.getsockname()[1]
    return port


def _name_of(connection: socket.socket) -> str:
    host, port = connection.getpeername()[:2]
    return f"{host.removeprefix(_MAPPED)}:{port}"
