"""Traffic as an engine sends it: queues of new prompts, and reports of what they produced."""

import random
import threading
import time

from rankd_client import Completed, Item, RankClient

MODEL = "llm"


def prompt(rng):
    """A prompt of a few words, and the length of its answer: longer with every "long", shorter with every "short"."""
    longs, shorts, rest = rng.randint(0, 6), rng.randint(0, 6), rng.randint(1, 8)
    words = ["long"] * longs + ["short"] * shorts + [f"w{rng.randint(0, 57)}" for _ in range(rest)]
    rng.shuffle(words)
    tokens = max(1, round(200 + 25 * (longs - shorts) + rng.gauss(0, 40)))
    return " ".join(words), tokens


class Traffic:
    """So many calls a second from one client in several threads; every answer and every report is kept in mind."""

    def __init__(self, target, *, calls_per_second=200, items=3, threads=4, report=True):
        self._client = RankClient(target, model=MODEL, timeout=20)
        self._period = threads / calls_per_second
        self._items = items
        self._report = report
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]
        self.calls, self.failed, self.mixed, self.rejected = 0, [], [], []
        self.threads = threads
        self.versions = []
        """The ranker version of every answer, as they came."""
        self.shadow_scores = 0

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._client.close()

    def _run(self, number):
        rng, due, sequence = random.Random(number), time.monotonic(), 0
        while not self._stop.is_set():
            sequence += 1
            self.one(rng, f"{number}-{sequence}")
            due += self._period
            time.sleep(max(0.0, due - time.monotonic()))

    def one(self, rng, name):
        """One queue, and the report of it."""
        drawn = [prompt(rng) for _ in range(self._items)]
        queue = self._client.rank([Item(text, request_id=f"{name}-{i}") for i, (text, _) in enumerate(drawn)])
        self.calls += 1
        self.versions.append(queue.ranker_version)
        if queue.failed or queue.reason:
            self.failed.append(queue.reason)
            return
        if {r.prediction.ranker_version for r in queue} != {queue.ranker_version}:
            self.mixed.append(queue.ranker_version)
        self.shadow_scores += sum(len(r.prediction.shadow_scores) for r in queue)
        if self._report:
            done = [Completed(r.request_id, r.prediction, output_tokens=drawn[r.index][1]) for r in queue]
            result = self._client.report(done, timeout=20)
            if result.error or result.rejected:
                self.rejected.append((result.error, result.rejected))
