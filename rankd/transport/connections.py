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
_REST = 50
"""Times as long as it took to look at all descriptors until that is done again: thousands take many milliseconds."""


class TcpConnections:
    """Counts what comes over connections; finds their descriptors, and remembers them."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._descriptors: dict[str, int] = {}
        self._rested = 0.0

    def received(self, peers: set[str]) -> dict[str, int | None]:
        """Bytes that peers have sent over the lives of their connections; None where that cannot be told.

        Without peers that are not known yet, and are not looked for now.
        """
        looked = not peers <= self._descriptors.keys() and self._find(peers)
        found: dict[str, int | None] = {}
        for peer in peers:
            number = self._descriptors.get(peer)
            if number is None:
                if looked:
                    found[peer] = None
                continue
            with suppress(OSError), _borrowed(number) as connection:
                if _name_of(connection) == peer:
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
                    if len(info) == _BYTES_RECEIVED.size:
                        found[peer] = _BYTES_RECEIVED.unpack(info)[0]
            if peer not in found:
                found[peer] = None
                del self._descriptors[peer]  # closed, and the number perhaps given to another one
        return found

    def cut(self, peers: set[str]) -> int:
        """End the connections of peers and all that is sent over them, at once; how many there were."""
        ended = 0
        for peer, number in _open_connections():
            if peer in peers:
                with suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
                    if _name_of(connection) == peer:
                        connection.shutdown(socket.SHUT_RDWR)
                        ended += 1
        return ended

    def _find(self, peers: set[str]) -> bool:
        """Look for the descriptors of peers; False while connections come and go so fast that it is not done again."""
        began = time.monotonic()
        if began < self._rested:
            return False
        self._descriptors = {peer: number for peer, number in _open_connections() if peer in peers}
        took = time.monotonic() - began
        self._rested = began + took * _REST
        return True


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


def _open_connections() -> list[tuple[str, int]]:
    """All connections of this process: the peer, and the descriptor."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError), _borrowed(int(entry.name)) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                found.append((_name_of(connection), int(entry.name)))
    return found


def _name_of(connection: socket.socket) -> str:
    host, port = connection.getpeername()[:2]
    return f"{host.removeprefix(_MAPPED)}:{port}"
