"""Whatever callers leave in the daemon's memory: parts of requests, streams, answers that nobody reads, open calls.

The daemon has 512 MiB in a control group of its own where that can be made, and must live; others are answered in time,
and afterwards nothing is left.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
from rankd_client.v1 import rank_pb2
from support.control_group import ControlGroup
from support.daemon import DaemonProcess
from support.http2 import Connection
from support.others import Others
from support.process_memory import descriptors, peak, resident, threads
from support.tiny_ranker import make_artifact
from support.wire import item, request

_RANK, _STREAM = "rankd.v1.RankService/Rank", "rankd.v1.RankService/RankStream"
_SIZE = 16 * 2**20 - 100


def stalled_requests(target):
    """Sixteen megabytes of a request each, all but the end, on many calls of many connections."""
    return _stalled(target, _RANK)


def stalled_streams(target):
    """The same with streams, which may wait as long as they like."""
    return _stalled(target, _STREAM)


def _stalled(target, method):
    kept = []
    for _ in range(12):
        try:
            connection = Connection(target)
            kept.append(connection)
            streams = [connection.open(method) for _ in range(20)]
            for stream in streams:
                connection.begin(stream, _SIZE)
            connection.feed(streams, _SIZE - 100)
        except OSError:
            continue
    return kept


def full_streams(target):
    """Streams that are each within their limits: thousands of requests, all with long prompts."""
    kept = []
    for number in range(40):
        channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        items = [item(f"{number}-{i}", f"{i} " + "word " * 300) for i in range(8000)]
        stream = channel.stream_stream(f"/{_STREAM}")(iter_open([rank_pb2.RankStreamRequest(arrived=items)]))
        kept.append((channel, stream))
        try:
            next(stream)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
    return kept


def iter_open(messages):
    """The messages, encoded; then nothing, and no end."""
    yield from (m.SerializeToString() for m in messages)
    threading.Event().wait(30)


def unread_answers(target):
    """Long queues whose answers stay in the daemon, as the caller's window is shut."""
    kept = []
    data = request(*[item(f"{i}-" + "x" * 200, "short") for i in range(3000)]).SerializeToString()
    for _ in range(12):
        try:
            connection = Connection(target, window=0)
            kept.append(connection)
            for _ in range(20):
                stream = connection.open(_RANK)
                connection.begin(stream, len(data))
                connection.feed([stream], len(data), data=data)
                connection.end(stream)
        except OSError:
            continue
    return kept


def half_open(target):
    """Calls without a request, by the thousand."""
    kept = []
    for _ in range(40):
        connection = Connection(target)
        kept.append(connection)
        for _ in range(500):
            connection.open(_RANK)
    return kept


def rapid_reset(target):
    """Calls that are taken back as soon as they are made."""
    connection = Connection(target)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        try:
            for _ in range(200):
                connection.reset(connection.open(_RANK))
            connection.take_all()
        except OSError:
            connection = Connection(target)
    return [connection]


ATTACKS = {
    each.__name__: each
    for each in (stalled_requests, stalled_streams, full_streams, unread_answers, half_open, rapid_reset)
}


def run(name, ranker, limit):
    """One attack on a daemon of its own; gives what went wrong."""
    group = ControlGroup(f"rankd-{name}-{os.getpid()}", limit)
    daemon = DaemonProcess(ranker, prefix=group.prefix)
    failures = []
    try:
        pid = daemon.process.pid
        time.sleep(1)
        before = resident(pid), threads(pid), descriptors(pid)
        others = Others(daemon.target)
        others.start()
        command = [sys.executable, "-m", "attacks.held_memory", name, "--target", daemon.target]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attacker:
            attacker.stdout.readline()
            time.sleep(3)
            others.over.set()
            others.join()
            attacker.kill()
        if daemon.process.poll() is not None:
            return [f"{name}: the daemon died"]
        top = peak(pid)
        time.sleep(5)
        after = resident(pid), threads(pid), descriptors(pid)
        print(
            f"{name:18} {group.kind:12} others in time {others.in_time:6.1%} of {others.calls:4}; "
            f"peak {top / 1e6:4.0f} MB, {before[0] / 1e6:.0f} before, {after[0] / 1e6:.0f} after; "
            f"threads {before[1]} to {after[1]}, descriptors {before[2]} to {after[2]}",
            flush=True,
        )
        if others.in_time < 0.99:
            failures.append(f"{name}: others {others.in_time:.1%} in time")
        if after[2] > before[2] + 5:
            failures.append(f"{name}: descriptors stay open")
    finally:
        daemon.kill()
        group.close()
    return failures


def main():
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", default=list(ATTACKS))
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--target", help="only attack this, until the end of the standard input")
    options = parser.parse_args()
    if options.target:
        kept = ATTACKS[options.attacks[0]](options.target)
        print(len(kept), flush=True)
        return bool(sys.stdin.read())
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        ranker = make_artifact(Path(folder) / "tiny")
        for name in options.attacks:
            failures += run(name, ranker, options.mebibytes * 2**20)
    print("\n".join(failures) or "held")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
