"""A pilot on a queue that is served in real time: ``python tests/server/sim_pilot.py [SLOT_SECONDS] [BLOCKS]``.

Starts a daemon with the bundled n-gram ranker, and an engine of a few slots that asks it for the order whenever one is
free, serves the first, and reports what it took. How long an answer is follows the ranker's expectation, with noise.
Then ``rankd pilot start`` compares ``due`` with ``fcfs``, as in docs/guides/pilot.md.
"""

import heapq
import itertools
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rankd_client import Completed, Item, RankClient
from support.daemon import Daemon

from rankd.cli import main

TOPICS = ["dragons", "the sea", "Rome", "tea", "chess", "rain", "bees", "Mars", "bread", "ships"]
ASKED = [
    "Write a detailed essay on {}.", "Name one fact about {}.", "Is {} a noun? Yes or no.", "Tell me a story about {}.",
    "Translate '{}' into French.", "List ten things about {}, each with an explanation.",
]  # fmt: skip
SLOTS, SECONDS_PER_TOKEN, LOAD, UNREST = 4, 1e-3, 0.7, 0.15


class Engine:
    """Serves requests in real time; one thread does all."""

    def __init__(self, target, seed=1):
        self.client = RankClient(target, model="llm", timeout=0.5)
        self.rng = random.Random(seed)
        self.stop = threading.Event()
        self.names = itertools.count()
        prompts = [a.format(t) for a in ASKED for t in TOPICS]
        expected = [r.expected_tokens for r in sorted(self.client.rank(prompts), key=lambda r: r.index)]
        self.expected = dict(zip(prompts, expected, strict=True))
        mean = sum(expected) / len(expected) * SECONDS_PER_TOKEN
        self.rate = LOAD * SLOTS / mean

    def run(self):
        """Until told to stop."""
        waiting, running, level = {}, [], 0.0
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
                end, name, arrival, prediction, tokens = heapq.heappop(running)
                done.append(Completed(name, prediction, tokens, arrival=arrival, total_seconds=end - arrival))
            if done:
                self.client.report(done, timeout=5)
            if waiting and len(running) < SLOTS:
                for ranked in list(self.client.rank([i for i, _ in waiting.values()]))[: SLOTS - len(running)]:
                    item, tokens = waiting.pop(ranked.request_id)
                    end = time.time() + tokens * SECONDS_PER_TOKEN
                    heapq.heappush(running, (end, item.request_id, item.arrival, ranked.prediction, tokens))
            else:
                time.sleep(0.002)


if __name__ == "__main__":
    slot, blocks = sys.argv[1:3] or ("12", "12")
    daemon = Daemon(ranker="ngram", guard={"enabled": False})
    engine = Engine(daemon.target)
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    where = ["--model", "llm", "--admin", daemon.admin_target]
    main(["pilot", "start", "--slot", slot, "--blocks", blocks, "--treatment", "due", *where])
    engine.stop.set()
    thread.join(10)
    daemon.stop()
