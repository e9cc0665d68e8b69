"""Ports for those who must know each other's before they start, or where nobody shall listen."""

import random
import socket

_BELOW_THE_SYSTEMS_OWN = range(12_000, 30_000)
"""Linux gives out ports from 32768 on: none of these is taken by a connection of somebody else meanwhile."""


def free_ports(count):
    """Ports that nobody has at present."""
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().choice(_BELOW_THE_SYSTEMS_OWN)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        if port not in ports:
            ports.append(port)
    return ports


def nobody():
    """An address where nobody listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"
