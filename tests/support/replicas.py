"""Replicas on loopback addresses of their own, and engines that balance over them. For soak/five_replicas.py."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import grpc
from rankd_client import Completed, Item, RankClient
from rankd_client.v1 import quality_pb2, quality_pb2_grpc

from support.fleet_calls import OWN_CHANNEL

MODEL = "chat"
PORT = 50151
MODES = {1: "warming_up", 2: "ranked", 3: "fallback"}


class Replica:
    """``rankd serve`` on one address, which it has again after every restart."""

    def __init__(self, number, ranker, directory, settings):
        self.host = f"127.0.0.{11 + number}"
        self.target, self.http = f"{self.host}:{PORT}", f"http://{self.host}:{PORT + 2}"
        self._command = [
            sys.executable, "-m", "rankd", "serve", "--provider", "cpu", "--ranker", str(ranker),
            "--listen", self.target, "--admin", f"{self.host}:{PORT + 1}", "--metrics", f"{self.host}:{PORT + 2}",
        ]  # fmt: skip
        own = {"RANKD_QUALITY__SNAPSHOT": str(directory / f"{self.host}.npz")}
        self._environment = os.environ | settings | own
        self._log = directory / f"{self.host}.log"
        self._channel = grpc.insecure_channel(self.target, options=[*OWN_CHANNEL, *_BACK_SOON])
        self._quality = quality_pb2_grpc.QualityServiceStub(self._channel)
        self.process = None

    def start(self):
        """Start and wait until it serves."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log)
        end = time.monotonic() + 60
        while self.quality(wait=1.0) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.host} does not start: see {self._log}")
            time.sleep(0.05)

    def signal(self, number):
        """Send a signal to this process."""
        self.process.send_signal(number)

    def drain(self):
        """SIGTERM, as at a rolling update; its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self):
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def quality(self, wait=0.5):
        """Its window of the model, or what stands for it; None where it does not answer."""
        try:
            request = quality_pb2.GetQualityRequest(model=MODEL)
            return self._quality.GetQuality(request, timeout=wait).qualities[0]
        except grpc.RpcError:
            return None

    def events(self, name):
        """Log events of that name, of all its processes."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if f'"event": "{name}"' in line]


_BACK_SOON = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]


def prompt(rng):
    """A prompt, and how long its answer is when the ranker is right: longer with every "long"."""
    longs, shorts, rest = rng.randint(0, 6), rng.randint(0, 6), rng.randint(1, 8)
    words = ["long"] * longs + ["short"] * shorts + [f"w{rng.randint(0, 57)}" for _ in range(rest)]
    rng.shuffle(words)
    return " ".join(words), max(1, round(200 + 15 * (longs - shorts) + rng.gauss(0, 90)))


@dataclass
class Seen:
    """What engines saw; lists are appended to by many threads, and counted by one."""

    calls: int = 0
    failed: list = field(default_factory=list)
    """(when, phase, reason) of orders that were the client's own fallback."""
    wrong: list = field(default_factory=list)
    """Answers that were no permutation of the queue, and anything that was raised."""
    unscored: int = 0
    """Requests that came back without a prediction, which nothing can be reported of."""
    records: list = field(default_factory=list)
    """(phase, score, tokens) of every report that a replica accepted or knew already."""
    lost: list = field(default_factory=list)
    """(phase, how many, why) of reports that nobody took, however often they were sent."""
    resent: int = 0
    seconds: list = field(default_factory=list)


class Engines:
    """So many engines, each with a client of its own, and so many queues a second between them."""

    def __init__(self, replicas, *, engines, calls_per_second, timeout, items=5):
        self._target = "ipv4:" + ",".join(r.target for r in replicas)
        self._period, self._items, self._timeout = engines / calls_per_second, items, timeout
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(engines)]
        self.seen, self.phase, self.sign = Seen(), "start", 1
        self._lock = threading.Lock()

    def start(self):
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self):
        """End, after what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number):
        rng = random.Random(number)
        serial = 0
        with RankClient(self._target, model=MODEL, timeout=self._timeout, balance=True) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                queue = {}
                for _ in range(self._items):
                    serial += 1
                    queue[f"{number}-{serial}"] = prompt(rng)
                try:
                    self._serve(client, queue)
                except Exception as error:  # noqa: BLE001 - whatever it is, an engine would have seen it
                    self.seen.wrong.append(repr(error))
                self._stop.wait(max(0.0, self._period - (time.monotonic() - began)))

    def _serve(self, client, queue):
        """One queue: its order, and what its requests turned out to be."""
        phase, sign, began = self.phase, self.sign, time.monotonic()
        answer = client.rank([Item(text, name) for name, (text, _) in queue.items()])
        took = time.monotonic() - began
        if {r.request_id for r in answer} != set(queue) or len(answer) != len(queue):
            self.seen.wrong.append("no permutation")
        if answer.failed:
            self.seen.failed.append((time.time(), phase, answer.reason))
        done = []
        for ranked in answer:
            tokens = queue[ranked.request_id][1]
            # When the ranker is wrong, what it thinks long is short.
            tokens = tokens if sign > 0 else max(1, 400 - tokens)
            done.append(Completed(ranked.request_id, ranked.prediction, tokens))
        with self._lock:
            self.seen.calls += 1
            self.seen.seconds.append(took)
            self.seen.unscored += sum(d.prediction is None for d in done)
        self._report(client, phase, [d for d in done if d.prediction is not None])

    def _report(self, client, phase, done):
        """Report until a replica takes it, for at most half a minute."""
        end = time.monotonic() + 30
        if not done:
            return
        while True:
            result = client.report(done, timeout=2.0)
            if result.accepted + result.duplicate == len(done):
                self.seen.records.extend((phase, d.prediction.score, d.output_tokens) for d in done)
                return
            if result.rejected or time.monotonic() > end:
                break
            with self._lock:
                self.seen.resent += len(done)
            self._stop.wait(0.1)
        why = result.error or ", ".join(sorted({reason for _, reason, _ in result.rejected}))
        self.seen.lost.append((phase, len(done), why))


class Watch:
    """Asks every replica for its guard's mode, twice a second or more often, and keeps what changes."""

    def __init__(self, replicas):
        self._replicas = replicas
        self._stop = threading.Event()
        self.modes = {}
        self.changes = []
        """(when, host, mode); None where it does not answer."""
        self._threads = [threading.Thread(target=self._follow, args=(r,), daemon=True) for r in replicas]
        for thread in self._threads:
            thread.start()

    def _follow(self, replica):
        while not self._stop.wait(0.1):
            found = replica.quality()
            mode = MODES.get(found.guard.mode) if found is not None and found.model == MODEL else None
            if self.modes.get(replica.host, "") != mode:
                self.modes[replica.host] = mode
                self.changes.append((time.time(), replica.host, mode))

    def until(self, mode, hosts, seconds):
        """Wait until these are all in a mode; seconds between the first and the last to get there; None: never."""
        since, end = time.time(), time.monotonic() + seconds
        while {self.modes.get(h) for h in hosts} != {mode}:
            if time.monotonic() > end:
                return None
            time.sleep(0.05)
        arrived = {host: at for at, host, to in self.changes if to == mode and at >= since and host in hosts}
        return max(arrived.values()) - min(arrived.values()) if arrived else 0.0

    def longest_difference(self):
        """Seconds for which replicas that answered were in different modes."""
        modes, longest, since = {}, 0.0, None
        for at, host, mode in [*sorted(self.changes, key=lambda c: c[0]), (time.time(), "", None)]:
            if since is not None:
                longest = max(longest, at - since)
            modes[host] = mode
            differ = len({m for m in modes.values() if m is not None}) > 1
            since = (since or at) if differ else None
        return longest

    def stop(self):
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5)


def reasons(failed):
    """Failed calls by phase and reason."""
    return {f"{phase}: {reason}": n for (phase, reason), n in Counter(f[1:] for f in failed).items()}
