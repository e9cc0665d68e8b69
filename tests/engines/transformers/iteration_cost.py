"""What rankd adds to an iteration of transformers' scheduler, in processor time, with 1,000 requests waiting.

usage: python -m engines.transformers.iteration_cost

A daemon with a tiny ranker is in this process; the model is tiny too. Prints the median of each scheduler.
"""

import sys
import tempfile
import time
from pathlib import Path

from support.daemon import Daemon
from support.tiny_ranker import make_artifact
from support.transformers_engine import MODEL, Engine, prompt, registered, scored

WAITING, STEPS, WARM_UP = 1004, 200, 20


def median(scheduler, *, ranked):
    """Microseconds of one call of the scheduler."""
    engine = Engine(MODEL, scheduler)
    for n in range(WAITING):
        engine.add(f"r{n}", prompt(n % 10, n), 500)
    if ranked:
        scored(engine, WAITING)
    else:
        engine.arrive()
    taken, schedule = [], engine.scheduler.schedule_batch

    def timed(*budgets):
        start = time.thread_time_ns()
        result = schedule(*budgets)
        taken.append((time.thread_time_ns() - start) / 1000)
        return result

    engine.scheduler.schedule_batch = timed
    for _ in range(STEPS):
        engine.step()
    kept = sorted(taken[WARM_UP:])
    return kept[len(kept) // 2]


def main():
    """Print both."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(ranker=make_artifact(Path(folder) / "tiny"))
        name, registration = registered(daemon.target)
        own, ours = median("fifo", ranked=False), median(name, ranked=True)
        registration.close()
        daemon.stop()
    print(f"transformers' own: {own:.0f} µs, with rankd: {ours:.0f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
