"""A pilot on a queue that is served in real time: ``python -m benchmarks.pilot_live [SLOT_SECONDS] [BLOCKS]``.

Starts a daemon with the bundled n-gram ranker, and an engine of a few slots that asks it for the order whenever one is
free, serves the first, and reports what it took. How long an answer is follows the ranker's expectation, with noise.
Then ``rankd pilot start`` compares ``due`` with ``fcfs``, as in docs/guides/pilot.md.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import socket
import sys
import threading
import time

from rankd_client import Completed, Item, RankClient

from rankd import cli
from rankd.bench.process import MeasuredProcess

TOPICS = ["dragons", "the sea", "Rome", "tea", "chess", "rain", "bees", "Mars", "bread", "ships"]
ASKED = [
    "Write a detailed essay on {}.", "Name one fact about {}.", "Is {} a noun? Yes or no.", "Tell me a story about {}.",
    "Translate '{}' into French.", "List ten things about {}, each with an explanation.",
]  # fmt: skip
SLOTS, SECONDS_PER_TOKEN, LOAD, UNREST = 4, 1e-3, 0.7, 0.15


class RealTimeEngine:
    """Serves requests in real time; one thread does all."""

    def __init__(self, target: str, seed: int = 1) -> None:
        """Take the lengths of answers from what the daemon at ``target`` expects."""
        self.client = RankClient(target, model="llm", timeout=0.5)
        self.rng = random.Random(seed)  # noqa: S311 - nothing secret
        self.stop = threading.Event()
        self.names = itertools.count()
        prompts = [a.format(t) for a in ASKED for t in TOPICS]
        expected = [r.expected_tokens or 0.0 for r in sorted(self.client.rank(prompts), key=lambda r: r.index)]
        self.expected = dict(zip(prompts, expected, strict=True))
        mean = sum(expected) / len(expected) * SECONDS_PER_TOKEN
        self.rate = LOAD * SLOTS / mean

    def run(self) -> None:
        """Serve until ``stop`` is set."""
        waiting: dict[str, tuple[Item, int]] = {}
        running: list[tuple[float, str, Completed]] = []
        level = 0.0
        following = time.time()
        while not self.stop.is_set():
            now = time.time()
            while following <= now:
                level = 0.999 * level + self.rng.gauss(0, UNREST * 0.0447)
                prompt = self.rng.choice(list(self.expected))
                name = f"r{next(self.names)}"
                tokens = max(1, round(self.expected[prompt] * self.rng.lognormvariate(-0.125, 0.5)))
                waiting[name] = (Item(prompt, request_id=name, arrival=following), tokens)
                following += self.rng.expovariate(self.rate * 2.718 ** min(level, 0.3))
            done = []
            while running and running[0][0] <= now:
                done.append(heapq.heappop(running)[2])
            if done:
                self.client.report(done, timeout=5)
            if waiting and len(running) < SLOTS:
                for ranked in list(self.client.rank([i for i, _ in waiting.values()]))[: SLOTS - len(running)]:
                    item, tokens = waiting.pop(ranked.request_id)
                    end = time.time() + tokens * SECONDS_PER_TOKEN
                    arrival = item.arrival or now
                    completed = Completed(
                        ranked.request_id, ranked.prediction, tokens, arrival=arrival, total_seconds=end - arrival
                    )
                    heapq.heappush(running, (end, ranked.request_id, completed))
            else:
                time.sleep(0.002)


def main() -> int:
    """Serve, and let a pilot compare ``due`` with ``fcfs``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pilot_live", description=__doc__.partition(":")[0])
    parser.add_argument("slot", nargs="?", default="12", help="seconds of a slot; default: 12")
    parser.add_argument("blocks", nargs="?", default="12", help="of two slots; default: 12")
    arguments = parser.parse_args()
    admin = f"127.0.0.1:{_free_port()}"
    serve = ("rankd", "serve", "--listen", "127.0.0.1:0", "--admin", admin, "--metrics", "", "--ranker", "ngram",
             "--provider", "cpu")  # fmt: skip
    with MeasuredProcess(serve, environment={"RANKD_GUARD__ENABLED": "false"}, cores=None) as daemon:
        engine = RealTimeEngine(daemon.target)
        thread = threading.Thread(target=engine.run, daemon=True)
        thread.start()
        pilot = ["pilot", "start", "--slot", arguments.slot, "--blocks", arguments.blocks, "--treatment", "due"]
        status = cli.main([*pilot, "--model", "llm", "--admin", admin])
        engine.stop.set()
        thread.join(10)
    return status


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
