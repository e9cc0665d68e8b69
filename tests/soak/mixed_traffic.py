"""Mixed traffic on a daemon and a proxy for an hour: memory, threads and descriptors stay flat. ``make soak``.

``python -m soak.mixed_traffic [--minutes 60] [--pace 1] [--json out/soak.json]``: queues, streams and reports of models
that come and go, watchers, scrapes, callers who connect anew, who leave, who send what nobody should, and answers
through the proxy. A sample is taken every ten seconds. The first quarter is for caches and windows to fill.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
from attacks.hostile_messages import hostile
from rankd_client import Completed, Item, RankClient
from rankd_client.v1 import rank_pb2
from support.daemon import DaemonProcess
from support.fake_engine import EVENTS, ProxyProcess, Upstream, streamed

EVERY = 10.0
ALLOWED = {"rss_mib": 16, "threads": 2, "descriptors": 8}
"""What the last quarter's median may have more than the second's."""
WORDS = ["write", "a", "story", "list", "of", "cats", "explain", "why", "sky", "blue", "translate", "code", "in"]


class Traffic:
    """All kinds of callers, each in a thread of its own."""

    def __init__(self, daemon: DaemonProcess, proxy: ProxyProcess, pace: float) -> None:
        self._daemon, self._proxy, self._rng = daemon, proxy, random.Random(3)
        self.over = threading.Event()
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        kinds: list[tuple[Callable[[], None], float]] = [
            (self._queue, 0.05), (self._new_caller, 1.0), (self._stream, 2.0), (self._watch, 5.0), (self._scrape, 1.0),
            (self._hostile, 0.2), (self._through_proxy, 0.1), (self._leaves, 0.5),
        ]  # fmt: skip
        self._client = RankClient(daemon.target, timeout=2.0, model="steady")
        self._threads = [
            threading.Thread(target=self._again, args=(act, pause * pace), daemon=True) for act, pause in kinds
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for those who are under way."""
        self.over.set()
        for thread in self._threads:
            thread.join(20)
        self._client.close()

    def _again(self, act: Callable[[], None], pause: float) -> None:
        while not self.over.wait(pause):
            try:
                act()
                self.done[act.__name__] += 1
            except (OSError, grpc.RpcError, AssertionError) as error:
                self.failed[f"{act.__name__}: {type(error).__name__}"] += 1

    def _prompt(self) -> str:
        return " ".join(self._rng.choices(WORDS, k=self._rng.randint(3, 60)))

    def _ask(self, client: RankClient) -> None:
        queue = client.rank([Item(self._prompt()) for _ in range(self._rng.randint(1, 12))])
        assert not queue.failed, queue.reason
        done = [Completed(r.request_id, r.prediction, 1 + len(r.request_id) * self._rng.randint(1, 40)) for r in queue]
        assert not client.report(done).error

    def _queue(self) -> None:
        self._ask(self._client)

    def _new_caller(self) -> None:
        with RankClient(self._daemon.target, timeout=2.0, model=f"made-up-{self._rng.randint(0, 10**6)}") as client:
            self._ask(client)

    def _stream(self) -> None:
        with self._client.stream() as stream:
            for _ in range(5):
                stream.step([Item(self._prompt(), request_id=f"{self._rng.random()}") for _ in range(4)])

    def _watch(self) -> None:
        for n, _ in enumerate(self._client.watch_quality(0.5)):
            if n == 4:
                return

    def _scrape(self) -> None:
        for page in ("metrics", "", "status.json", "readyz"):
            urllib.request.urlopen(self._daemon.http + page, timeout=5).read()

    def _hostile(self) -> None:
        path = "/rankd.v1.RankService/Rank"
        with grpc.insecure_channel(self._daemon.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                channel.unary_unary(path)(hostile(rank_pb2.RankRequest.DESCRIPTOR, self._rng), timeout=2)
            except grpc.RpcError as error:
                assert error.code() not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}, error.code()

    def _leaves(self) -> None:
        with grpc.insecure_channel(self._daemon.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            asked = rank_pb2.RankRequest()
            asked.items.add(request_id="a", prompt=self._prompt())
            call = channel.unary_unary("/rankd.v1.RankService/Rank").future(asked.SerializeToString())
            call.cancel()

    def _through_proxy(self) -> None:
        body = json.dumps({"model": "m", "prompt": self._prompt(), "stream": True}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._proxy.port}/v1/completions", body, {"Content-Type": "application/json"}
        )
        assert urllib.request.urlopen(asked, timeout=10).read().endswith(b"[DONE]\n\n")


def held(process: psutil.Process) -> dict[str, int]:
    """What a process has at present."""
    return {
        "rss_mib": process.memory_info().rss >> 20, "threads": process.num_threads(), "descriptors": process.num_fds()
    }  # fmt: skip


def growth(samples: list[dict[str, int]]) -> dict[str, float]:
    """How much more the last quarter's median is than the second's."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[3 * quarter :]
    return {
        key: statistics.median(s[key] for s in last) - statistics.median(s[key] for s in second) for key in ALLOWED
    }  # fmt: skip


def main() -> int:
    """Let it run, and say what grew."""
    parser = argparse.ArgumentParser(prog="soak.mixed_traffic", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pace", type=float, default=1.0, help="pauses between calls, times this")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    engine = Upstream(streamed(EVENTS))
    daemon = DaemonProcess(None)
    proxy = ProxyProcess(engine.url, daemon.target)
    processes = {"daemon": psutil.Process(daemon.process.pid), "proxy": psutil.Process(proxy.process.pid)}
    samples: dict[str, list[dict[str, int]]] = {name: [] for name in processes}
    traffic = Traffic(daemon, proxy, given.pace)
    traffic.start()
    end = time.monotonic() + 60 * given.minutes
    try:
        while time.monotonic() < end:
            time.sleep(EVERY)
            engine.seen.clear()
            for name, process in processes.items():
                samples[name].append(held(process))
            if len(samples["daemon"]) % 30 == 1:
                print(json.dumps({name: s[-1] for name, s in samples.items()}), flush=True)
    finally:
        traffic.stop()
        proxy.kill()
        daemon.kill()
        engine.close()
    grown = {name: growth(s) for name, s in samples.items()}
    out = {"grown": grown, "done": traffic.done, "failed": traffic.failed, "minutes": given.minutes}
    print(json.dumps(out))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(out | {"samples": samples}))
    faults = [
        f"{name}: {key} grew by {more:g}" for name, g in grown.items() for key, more in g.items() if more > ALLOWED[key]
    ]
    faults += [f"{count} times {what}" for what, count in traffic.failed.items() if count > traffic.done.total() / 1000]
    print("\n".join(faults) or "well")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
