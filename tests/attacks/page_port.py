"""Attacks on the port of metrics and probes, one after another, while a probe asks with a second's patience.

Readers of ``/metrics`` that do not read, silent connections, requests byte by byte, scrapers in a loop, all at once;
each for some seconds. At least 99 % of ``/livez`` and ``/readyz`` are answered. How often an honest scraper got through
is told and not judged: nothing tells it apart from those who do not read.
``PYTHONPATH=tests python -m attacks.page_port [SECONDS]``.
"""

import random
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import grpc
from support.daemon import DaemonProcess
from support.tiny_ranker import make_artifact
from support.wire import report_many

PATIENCE = 1.0
"""Seconds of a kubelet's probe."""


def ask(port, path, timeout=PATIENCE):
    """A request's status, and whether all of the answer came."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length"))
    return int(head.split()[1]), len(body) == length


def unread(port):
    """Ask for metrics, and read nothing."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(random.choice((0.05, 0.3, 3.0)))


def silent(port):
    """Connect, and say nothing."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(2)
        connection.recv(1)


def drip(port):
    """A byte now and then."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for byte in b"GET /metrics HTTP/1.1\r\nHost: x":
            connection.send(bytes([byte]))
            time.sleep(0.05)


def scrape(port):
    """Ask in a loop, and read."""
    ask(port, "/metrics", timeout=20)


ATTACKS = {"unread": [(unread, 150)], "silent": [(silent, 200)], "drip": [(drip, 100)], "scrapers": [(scrape, 8)]}
ATTACKS["all"] = [pair for pairs in ATTACKS.values() for pair in pairs]


def attack(port, kinds, seconds):
    """Let attackers loose; gives what probes and an honest scraper got."""
    ended = threading.Event()

    def loop(kind):
        while not ended.is_set():
            with suppress(OSError, StopIteration, IndexError):
                kind(port)

    threads = [
        threading.Thread(target=loop, args=(kind,), daemon=True) for kind, number in kinds for _ in range(number)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    good, asked, slowest, scraped, scrapes = 0, 0, 0.0, 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in ("/livez", "/readyz"):
            began, asked = time.monotonic(), asked + 1
            with suppress(OSError, StopIteration, IndexError):
                good += ask(port, path) == (200, True)
            slowest = max(slowest, time.monotonic() - began)
        if asked % 20 == 0:
            scrapes += 1
            with suppress(OSError, StopIteration, IndexError):
                scraped += ask(port, "/metrics", timeout=10) == (200, True)
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join(5)
    return good, asked, slowest, scraped, scrapes


def grow(daemon):
    """Give the metrics many windows, so that an answer does not fit into a socket's buffer."""
    here = SimpleNamespace(channel=lambda: grpc.insecure_channel(daemon.target))
    for number in range(31):
        report_many(here, f"a model whose name is rather long {number}", 300)


def main():
    """All attacks."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        daemon = DaemonProcess(make_artifact(Path(directory) / "tiny"))
        port = int(daemon.http.rstrip("/").rpartition(":")[2])
        try:
            grow(daemon)
            for name, kinds in ATTACKS.items():
                good, asked, slowest, scraped, scrapes = attack(port, kinds, seconds)
                print(
                    f"{name}: {good} of {asked} probes answered ({good / asked:.1%}), the slowest in {slowest:.2f} s; "
                    f"{scraped} of {scrapes} honest scrapes",
                    flush=True,
                )
                failed |= good < 0.99 * asked
        finally:
            daemon.kill()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
