"""Who may hold a place at the metrics port, and how long."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import GaugeMetricFamily
from support.page_server import READY, get


@pytest.mark.parametrize("says", [b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nHost: x\r\n"])
def test_silent_and_slow_connections_end(start_page, says, wait_until):
    """After http.request_timeout, also where a byte comes now and then."""
    server = start_page(request_timeout=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(says)
        with suppress(OSError):
            while connection.send(b"x" if says else b""):
                time.sleep(0.02)
        assert connection.recv(1000) == b"" or says
    wait_until(lambda: not server.connections.open)


def unread(server, path="/metrics"):
    """Somebody who asks, and does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def large():
    """Metrics that fit into no socket's buffer."""
    registry = CollectorRegistry()
    gauge = Gauge("wide", "W" * 2_000_000, ["n"], registry=registry)
    gauge.labels("1").set(1)
    return registry


def test_an_answer_that_is_not_read_ends(start_page, wait_until):
    """After http.answer_timeout."""
    server = start_page(registry=large(), answer_timeout=0.5)
    with unread(server):
        wait_until(lambda: any(c.asked for c in list(server.connections.open)))
        wait_until(lambda: not server.connections.open)


def test_connections_that_hold_all_places_do_not_keep_probes_out(start_page):
    """Neither who asks nothing nor who does not read: they make way for a probe that does, time and again."""
    server = start_page(registry=large(), max_connections=16, request_timeout=3600, answer_timeout=3600)
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(16)]
    for connection in held[::2]:
        connection.sendall(b"GET /livez HTT")
    held += [unread(server) for _ in range(40)]
    held += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for _ in range(5):
        for path in ("/livez", "/readyz"):
            assert get(server, path)[0] == 200
    assert len(server.connections.open) <= 16
    for connection in held:
        connection.close()


def test_who_asked_is_answered_whoever_comes_after(start_page, wait_until):
    """Pages that are being made keep their places; one too many is told to come again, and probes are answered."""
    go_on = threading.Event()

    def snapshot():
        assert threading.current_thread().name != "rankd-page" or go_on.wait(30)
        return READY

    server = start_page(snapshot, max_connections=8)
    try:
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(get, server, "/") for _ in range(6)]
            wait_until(lambda: sum(c.building for c in list(server.connections.open)) == 6)
            status, headers, _ = get(server, "/")
            assert (status, headers["retry-after"]) == (503, "1")
            for path in ("/livez", "/readyz"):
                assert get(server, path)[0] == 200
            go_on.set()
            assert [answer.result()[0] for answer in answers] == [200] * 6
    finally:
        go_on.set()


def test_who_asks_at_once_shares_one_exposition(start_page):
    """Eight scrapers in a loop cost no more than one; what each gets was begun after it asked."""
    begun = []

    class Counting:
        def collect(self):
            begun.append(time.monotonic())
            time.sleep(0.02)
            yield GaugeMetricFamily("number", "Of expositions.", value=len(begun))

    registry = CollectorRegistry()
    registry.register(Counting())
    server, began = start_page(registry=registry), time.monotonic()
    begun.clear()

    def scrape(_):
        asked = time.monotonic()
        number = int(float(re.search(rb"^number (\S+)", get(server, "/metrics")[2], re.MULTILINE)[1]))
        return begun[number - 1] >= asked

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(scrape, range(40)))
    assert len(begun) <= 10 * (time.monotonic() - began) / 2 + 2
    assert len(begun) < 40


def test_a_close_waits_for_nobody(start_page):
    """Silent, slow and unread connections, and a page that is never made, end with the server."""
    never = threading.Event()
    server = start_page(lambda: never.wait() or READY, registry=large())
    held = [socket.create_connection(("127.0.0.1", server.port)), unread(server), unread(server, "/")]
    get(server, "/livez")
    thread = server._thread
    server.close()
    assert not thread.is_alive()
    for connection in held:
        connection.settimeout(10)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        connection.close()
    never.set()


@pytest.mark.parametrize("steps", range(6))
def test_who_connects_while_the_server_closes_is_cut(start_page, steps):
    """In whatever step of the loop the end comes: also before the first one of the connection's own task."""
    server = start_page()
    loop, blocked, go_on = server._loop, threading.Event(), threading.Event()

    def end_after(left):
        if left:
            loop.call_soon(end_after, left - 1)
        else:
            loop.stop()

    def block():
        blocked.set()
        go_on.wait(60)
        end_after(steps)

    loop.call_soon_threadsafe(block)
    assert blocked.wait(60)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        go_on.set()
        server._thread.join(60)
        with suppress(ConnectionResetError):
            assert connection.recv(9) == b""
