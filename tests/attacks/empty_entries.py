"""Millions of empty entries in a few megabytes, with gzip in a few kilobytes, in everything that is repeated.

Each would be 1 to 3 GB of objects. They are sent without a credential, with one, and compressed: memory must stay where
it was, and somebody else must be answered meanwhile.
"""

import tempfile
import time
from pathlib import Path

import grpc
from support.credentials import TOKENS, write_tokens
from support.daemon import DaemonProcess
from support.others import Others
from support.process_memory import peak, resident
from support.tiny_ranker import make_artifact
from support.wire_bytes import field, raw_call

_COUNT = 8_000_000
_TOKEN = TOKENS["any"]
_RANK, _STREAM = "rankd.v1.RankService/Rank", "rankd.v1.RankService/RankStream"
_REPORT = "rankd.v1.CompletionService/ReportCompletions"
_EMPTY = b"\x1a\x00"
ATTACKS = {
    "items": (_RANK, _EMPTY * _COUNT),
    "shadow scores of an item": (_RANK, field(3, field(3, b"\x3a\x00" * _COUNT))),
    "shadow scores of many items": (_RANK, field(3, field(3, b"\x3a\x00" * 500)) * 15_000),
    "shadow scores with long tags": (_RANK, field(3, field(3, b"\xba\x80\x00\x00" * (_COUNT // 2)))),
    "tenants": (_RANK, b"\x32\x00" * _COUNT),
    "unknown fields": (_RANK, b"\x78\x01" * _COUNT),
    "times of an item": (_RANK, field(3, b"\x22\x00" * _COUNT)),
    "arrived": (_STREAM, _EMPTY * _COUNT),
    "progressed": (_STREAM, b"\x22\x00" * _COUNT),
    "gone": (_STREAM, b"\x2a\x00" * _COUNT),
    "completions": (_REPORT, _EMPTY * _COUNT),
    "shadow scores of a completion": (_REPORT, field(3, field(2, b"\x3a\x00" * _COUNT))),
    "health": ("grpc.health.v1.Health/Check", b"\x12\x00" * _COUNT),
    "reflection": ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x12\x00" * _COUNT),
}
_STREAMING = {_STREAM, "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"}
_MOST_GROWTH = 150e6
"""Bytes: sixteen megabytes are in gRPC, in Python and in a queue of the system's, and freed pages come back late."""


def attack(daemon, how, metadata=(), **options):
    """All attacks one after the other; gives what was not refused."""
    failures = []
    pid = daemon.process.pid
    for name, (method, data) in ATTACKS.items():
        before, began = resident(pid), time.monotonic()
        with grpc.insecure_channel(daemon.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            error = raw_call(
                channel, method, data, streaming=method in _STREAMING, metadata=metadata, timeout=30, **options
            )
        seen = "answered" if error is None else error.code().name
        grown = resident(pid) - before
        print(f"{how:18} {name:30} {seen:20} {grown / 1e6:7.1f} MB {time.monotonic() - began:5.2f} s", flush=True)
        if error is None or seen in ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
            failures.append(f"{how}, {name}: {seen}")
    return failures


def main():
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        ranker = make_artifact(Path(folder) / "tiny")
        tokens = write_tokens(Path(folder) / "auth.toml")
        daemon = DaemonProcess(ranker, environment={"RANKD_AUTH__FILE": str(tokens)})
        try:
            pid = daemon.process.pid
            others = Others(daemon.target, TOKENS["any"])
            others.start()
            time.sleep(1)
            before = resident(pid)
            failures = attack(daemon, "no credential")
            known = (("authorization", f"Bearer {_TOKEN}"),)
            failures += attack(daemon, "with a credential", known)
            failures += attack(daemon, "compressed", known, compression=grpc.Compression.Gzip)
            others.over.set()
            others.join()
            print(f"others in time {others.in_time:.1%} of {others.calls}; peak {peak(pid) / 1e6:.0f} MB")
            if peak(pid) - before > _MOST_GROWTH:
                failures.append(f"memory grew by {(peak(pid) - before) / 1e6:.0f} MB")
        finally:
            daemon.kill()
    print("\n".join(failures) or "held")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
