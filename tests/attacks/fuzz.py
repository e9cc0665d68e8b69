"""Hostile messages to every method and stream of a daemon: no INTERNAL, no UNKNOWN, and memory stays flat.

``python -m attacks.fuzz [--messages 200000] [--seed 1]``: whatever is sent, a caller is told what is wrong with
it; and the daemon holds no more after the last message than after a quarter of them.
"""

import argparse
import collections
import json
import random
import sys
import threading
from collections.abc import Iterator

import grpc
import psutil
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from rankd_client.v1 import admin_pb2, completion_pb2, quality_pb2, rank_pb2
from support.daemon import DaemonProcess

from attacks.hostile_messages import hostile

_PUBLIC = [
    method
    for file in (rank_pb2, completion_pb2, quality_pb2, health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_ADMIN = [m for service in admin_pb2.DESCRIPTOR.services_by_name.values() for m in service.methods]
_WRONG = ("INTERNAL", "UNKNOWN")
_FLAT_MIB = 16


class Fuzzer(threading.Thread):
    """One caller: messages by a seed of its own, answers counted by status."""

    def __init__(self, daemon: DaemonProcess, seed: int, messages: int) -> None:
        super().__init__(daemon=True)
        self._rng, self._left = random.Random(seed), messages
        self.sent = 0
        self.statuses: collections.Counter[str] = collections.Counter()
        self.wrong: collections.Counter[tuple[str, str]] = collections.Counter()
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._public = grpc.insecure_channel(daemon.target, options=options)
        self._admin = grpc.insecure_channel(daemon.admin_target, options=options)

    def run(self) -> None:
        """Send them all."""
        while self.sent < self._left:
            admin = self._rng.random() < 0.1
            method = self._rng.choice(_ADMIN if admin else _PUBLIC)
            status, details = "OK", ""
            try:
                self._call(self._admin if admin else self._public, method)
            except grpc.RpcError as error:
                status, details = error.code().name, error.details() or ""
            self.statuses[status] += 1
            if status in _WRONG:
                self.wrong[method.full_name, details[:200]] += 1

    def _call(self, channel: grpc.Channel, method: MethodDescriptor) -> None:
        service, _, name = method.full_name.rpartition(".")
        path = f"/{service}/{name}"
        if not method.client_streaming and not method.server_streaming:
            self.sent += 1
            channel.unary_unary(path)(hostile(method.input_type, self._rng), timeout=5)
            return
        messages = self._messages(method)
        if method.client_streaming:
            answers = channel.stream_stream(path)(messages, timeout=1)
        else:
            answers = channel.unary_stream(path)(next(messages), timeout=0.05)
        try:
            for _ in range(4):
                next(answers)
        except StopIteration:
            pass
        finally:
            answers.cancel()

    def _messages(self, method: MethodDescriptor) -> Iterator[bytes]:
        for _ in range(self._rng.randint(1, 20)):
            self.sent += 1
            yield hostile(method.input_type, self._rng)


def main() -> int:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(prog="attacks.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=4)
    given = parser.parse_args()
    daemon = DaemonProcess("ngram")
    process = psutil.Process(daemon.process.pid)
    rss = []
    statuses: collections.Counter[str] = collections.Counter()
    wrong: collections.Counter[tuple[str, str]] = collections.Counter()
    try:
        for quarter in range(4):
            share = given.messages // 4 // given.callers + 1
            fuzzers = [Fuzzer(daemon, given.seed + 100 * quarter + n, share) for n in range(given.callers)]
            for fuzzer in fuzzers:
                fuzzer.start()
            for fuzzer in fuzzers:
                fuzzer.join()
                statuses += fuzzer.statuses
                wrong += fuzzer.wrong
            rss.append(process.memory_info().rss >> 20)
            print(f"{(quarter + 1) / 4:.0%}: {rss[-1]} MiB", flush=True)
        said = [line for line in daemon.lines if not line.startswith("{")]
    finally:
        daemon.kill()
    print(json.dumps({"statuses": statuses, "rss_mib": rss, "lines_that_are_no_json": len(said)}))
    faults = [f"{count} times from {name}: {details}" for (name, details), count in wrong.most_common()]
    faults += [f"memory grew by {rss[-1] - rss[0]} MiB"] if rss[-1] - rss[0] > _FLAT_MIB else []
    faults += [f"the daemon printed: {line.rstrip()}" for line in said[:5]]
    print("\n".join(faults) or "well")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
