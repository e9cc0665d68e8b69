"""SIGTERM while all kinds of connections are there that would keep a daemon: each by itself, then all at once.

Silent ones to each port, half of TLS's and of HTTP/2's greeting, a client that greets and does not answer the goodbye,
half-open calls, calls whose request never ends, streams that stand still, watches that are not read, readers of metrics
that do not read. The process ends within ``drain_timeout`` (2 s here) and 4 s, with status 0.
``PYTHONPATH=tests python -m attacks.shutdown``.
"""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
from rankd_client.v1 import quality_pb2, rank_pb2
from support.daemon import DaemonProcess
from support.tiny_ranker import make_artifact
from support.wire import item, quality_stub, rank_stub

GRACE = 2.0
SPARE = 4.0
"""A busy machine's; two seconds are promised."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def frame(kind, flags, stream, payload):
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(path):
    """The block of a call's headers, in literals without an index (RFC 7541, 6.2.2)."""
    fields = {
        b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"x", b"te": b"trailers",
        b"content-type": b"application/grpc",
    }  # fmt: skip
    return b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields.items())


CALL = frame(1, 4, 1, headers(b"/rankd.v1.RankService/Rank"))
SAYS = {
    "nothing": b"",
    "half of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half of a greeting": GREETING[:10],
    "a greeting": GREETING,
    "a call without a request": GREETING + CALL,
    "a call with half a request": GREETING + CALL + frame(0, 0, 1, bytes([0, 0, 0, 100, 0]) + b"x" * 50),
    "a call of health": GREETING + frame(1, 4, 1, headers(b"/grpc.health.v1.Health/Watch")),
    "an unending stream": GREETING + frame(1, 4, 1, headers(b"/rankd.v1.RankService/RankStream")),
}


def raw(says, to):
    """A connection that says something, and then neither reads nor writes."""

    def begin(daemon, stack):
        address = {"listen": daemon.target, "admin": daemon.admin_target, "metrics": daemon.http.strip("/")[7:]}[to]
        host, _, port = address.rpartition(":")
        for _ in range(20):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect((host, int(port)))
            connection.sendall(says)

    return begin


def streams(daemon, stack):
    """Streams and watches of a real client: some wait, some are not read."""
    channel = stack.enter_context(grpc.insecure_channel(daemon.target))
    ended = threading.Event()
    stack.callback(ended.set)

    def messages():
        yield rank_pb2.RankStreamRequest(arrived=[item("a", "w1")])
        ended.wait(60)

    for _ in range(10):
        next(rank_stub(channel).RankStream(messages()))
        next(quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest(interval={"nanos": 100_000_000})))


def idle(daemon, stack):
    """A client that is connected and asks nothing."""
    channel = stack.enter_context(grpc.insecure_channel(daemon.target))
    grpc.channel_ready_future(channel).result(10)


CASES = {f"{what} to {to}": [raw(says, to)] for what, says in SAYS.items() for to in ("listen", "admin")}
CASES["nothing to metrics"] = [raw(b"", "metrics")]
CASES["half a request to metrics"] = [raw(b"GET /livez HTTP/1.1\r\nHo", "metrics")]
CASES["metrics unread"] = [raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "metrics")]
CASES["streams and watches"] = [streams]
CASES["an idle client"] = [idle]
CASES["all of it"] = [begin for begins in CASES.values() for begin in begins]


def stopped(ranker, begins):
    """The seconds that SIGTERM took, and the process's status."""
    daemon = DaemonProcess(ranker, environment={"RANKD_DRAIN_TIMEOUT": str(GRACE)})
    try:
        with ExitStack() as stack:
            for begin in begins:
                begin(daemon, stack)
            time.sleep(0.3)
            began = time.monotonic()
            daemon.process.send_signal(signal.SIGTERM)
            with suppress(Exception):
                return daemon.process.wait(40), time.monotonic() - began
            return None, time.monotonic() - began
    finally:
        daemon.kill()


def main():
    """All cases."""
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        ranker = make_artifact(Path(directory) / "tiny")
        for name, begins in CASES.items():
            status, seconds = stopped(ranker, begins)
            wrong = status != 0 or seconds > GRACE + SPARE
            failed |= wrong
            print(f"{name}: status {status} after {seconds:.1f} s{' TOO LATE' if wrong else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(main())
