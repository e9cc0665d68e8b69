"""What it costs that predictions carry features: ``python -m benchmarks.echo_cost OTHER``. CPU time of two daemons.

OTHER is a checkout whose daemon learns nothing; this one's predictions carry features of the largest size that rankers
give, and a learned score. Both daemons run at once and are called turn about. Told are medians of blocks of calls: CPU
time of the daemon's process, and how long the caller waited, per call; and the difference of the least CPU times.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from rankd_client.v1 import completion_pb2, rank_pb2

from benchmarks.two_checkouts import HERE, Daemon, new_prompts

_DEADLINE = 60.0
_COLUMNS = ("CPU here", "other", "waited", "other", "CPU more")
_FEATURES = bytes(range(256)) * 3
_SIZE = 2 + 8 + 2 * 12 + 8 + 2 * 128 + 384
"""Bytes of features: twelve names, 128 words, 384 dimensions."""


def echoes(daemon: Daemon, size: int, *, learns: bool) -> Callable[[], object]:
    """A queue that brings its predictions."""
    request = rank_pb2.RankRequest()
    request.now.GetCurrentTime()
    for n in range(size):
        item = request.items.add(request_id=f"request-{n}", prediction=daemon.scored[n % 64].prediction)
        if learns:
            item.prediction.features, item.prediction.learned_score = _FEATURES[:_SIZE], 4.0 + n * 1e-3
        item.arrival_time.seconds = request.now.seconds - n % 60
    return lambda: daemon.rank(request, timeout=_DEADLINE)


def new(daemon: Daemon, size: int, numbers: count[int], *, learns: bool) -> Callable[[], object]:
    """Prompts that no daemon has read, with the shape that a chat has."""

    def call() -> object:
        request = new_prompts(size, numbers)
        for item in request.items:
            item.max_token_count = 256
            if learns:
                item.shape.message_count, item.shape.last_role = 3, "user"
        return daemon.rank(request, timeout=_DEADLINE)

    return call


def reports(daemon: Daemon, size: int, numbers: count[int], *, learns: bool) -> Callable[[], object]:
    """Reports of requests that ended."""

    def call() -> object:
        request = completion_pb2.ReportCompletionsRequest()
        request.now.GetCurrentTime()
        for n in range(size):
            message = request.completions.add(
                request_id=f"{next(numbers)}",
                prediction=daemon.scored[n % 64].prediction,
                output_token_count=10 + n,
                finish_reason=completion_pb2.FINISH_REASON_STOP,
            )
            if learns:
                message.prediction.features = _FEATURES[:_SIZE]
        return daemon.report(request, timeout=_DEADLINE)

    return call


def cpu_seconds(pid: int) -> float:
    """CPU time that the threads of a process have taken, by Linux's scheduler, to the nanosecond."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) * 1e-9


def compare(
    name: str, daemons: tuple[Daemon, Daemon], calls: list[Callable[[], object]], times: int, runs: int
) -> None:
    """Time one kind of call on both, in blocks, and tell."""
    used: tuple[list[float], list[float]] = ([], [])
    waited: tuple[list[float], list[float]] = ([], [])
    for call in calls:
        call()
    for _ in range(runs):
        for which in random.sample((0, 1), 2):
            before, began = cpu_seconds(daemons[which].pid), time.perf_counter()
            for _ in range(times):
                calls[which]()
            waited[which].append((time.perf_counter() - began) / times * 1e6)
            used[which].append((cpu_seconds(daemons[which].pid) - before) / times * 1e6)
    figures = [*map(statistics.median, (*used, *waited)), min(used[0]) - min(used[1])]
    print(f"{name:28}" + "".join(f" {figure:10.0f}" for figure in figures), flush=True)


def main() -> int:
    """Run all kinds of calls."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.echo_cost", description=__doc__.partition(":")[0])
    parser.add_argument("other", type=Path, metavar="OTHER", help="the other checkout; it may be this one")
    parser.add_argument("--ranker", default="ngram", metavar="NAME", help="default: ngram")
    parser.add_argument("--runs", type=int, default=9, metavar="N", help="blocks of calls of each kind; default: 9")
    arguments = parser.parse_args()
    numbers, runs = count(10_000), arguments.runs
    with ExitStack() as stack:
        options = ("--ranker", arguments.ranker)
        daemons = Daemon(HERE, stack, *options), Daemon(arguments.other.resolve(), stack, *options)
        print(f"{'microseconds a call':28}" + "".join(f" {name:>10}" for name in _COLUMNS))
        for size, times in ((1, 300), (32, 150), (256, 60), (4096, 4)):
            both = [echoes(daemon, size, learns=not at) for at, daemon in enumerate(daemons)]
            compare(f"Rank, {size:,} echoed", daemons, both, times, runs)
        for size, times in ((1, 200), (32, 30)):
            both = [new(daemon, size, numbers, learns=not at) for at, daemon in enumerate(daemons)]
            compare(f"Rank, {size:,} new", daemons, both, times, runs)
        both = [reports(daemon, 200, numbers, learns=not at) for at, daemon in enumerate(daemons)]
        compare("ReportCompletions, 200", daemons, both, 10, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
