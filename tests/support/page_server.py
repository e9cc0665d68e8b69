"""The server of metrics, probes and the page by itself, and raw requests to it."""

import socket

READY = {"ready": True, "reason": "serving", "facts": {}}
"""A state that `start_page` tells, where it is given no other."""


def ask(server, raw, host="127.0.0.1"):
    """Send bytes; gives status, headers by lower-case name, and body."""
    with socket.create_connection((host, server.port), timeout=30) as connection:
        connection.sendall(raw)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {h.split(":")[0].lower(): h.split(": ", 1)[1] for h in headers}, body


def get(server, path, method="GET"):
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
