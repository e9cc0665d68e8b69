"""Ports for those who must know each other's before they start."""

import socket


def free_ports(count):
    """Ports that nobody has at present."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
