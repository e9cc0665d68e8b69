"""Two checkouts' daemons side by side: ``python -m benchmarks.two_checkouts OTHER``. What did a change cost?

Both daemons run at once, on the CPU, and the same call goes to one and to the other, in random order, again and again:
whatever else the machine does hits both. Told are medians, and the median of the ratio within each pair of calls.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import grpc
from rankd_client.v1 import completion_pb2, completion_pb2_grpc, rank_pb2, rank_pb2_grpc

HERE = Path(__file__).parents[1]
_DEADLINE = 60.0
_WORDS = ("essay", "long", "yes", "number", "story", "why", "list", "translate", "explain")


class Daemon:
    """A checkout's daemon on a free port, run by this Python with that checkout's code."""

    def __init__(self, root: Path, stack: ExitStack, *options: str) -> None:
        """Start it with further options of ``rankd serve``, and wait until it can be called."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{free.getsockname()[1]}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RANKD_")}
        path = os.pathsep.join(map(str, (root, root / "clients" / "python")))
        arguments = ["serve", "--provider", "cpu", "--listen", target, "--metrics", "", "--admin", "", *options]
        process = subprocess.Popen(  # noqa: S603 - the checkout is the user's
            [sys.executable, "-m", "rankd", *arguments],
            cwd=root,
            env=kept | {"PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = process.pid
        stack.callback(process.wait)
        stack.callback(process.terminate)
        channel = stack.enter_context(grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]))
        grpc.channel_ready_future(channel).result(_DEADLINE)
        self.rank = rank_pb2_grpc.RankServiceStub(channel).Rank
        self.report = completion_pb2_grpc.CompletionServiceStub(channel).ReportCompletions
        self.scored = self.rank(new_prompts(64, count()), timeout=_DEADLINE).items


def new_prompts(size: int, numbers: count[int]) -> rank_pb2.RankRequest:
    """A queue of prompts that no daemon has read before."""
    request = rank_pb2.RankRequest()
    request.now.GetCurrentTime()
    for _ in range(size):
        number = next(numbers)
        prompt = f"{number}: " + " ".join(_WORDS[(number * n) % len(_WORDS)] for n in range(1, number % 40 + 2))
        request.items.add(request_id=str(number), prompt=prompt)
    return request


def _echo(daemon: Daemon, size: int) -> rank_pb2.RankRequest:
    """A queue that brings the predictions of an answer before."""
    request = rank_pb2.RankRequest()
    request.now.GetCurrentTime()
    for n in range(size):
        item = request.items.add(request_id=f"request-{n}", prediction=daemon.scored[n % 64].prediction)
        item.prediction.score += n * 1e-6
        item.arrival_time.seconds = request.now.seconds - n % 60
    return request


def _reports(daemon: Daemon, size: int, round_: int) -> completion_pb2.ReportCompletionsRequest:
    request = completion_pb2.ReportCompletionsRequest()
    request.now.GetCurrentTime()
    for n in range(size):
        message = request.completions.add(
            request_id=f"{round_}-{n}",
            prediction=daemon.scored[n % 64].prediction,
            output_token_count=10 + n,
            finish_reason=completion_pb2.FINISH_REASON_STOP,
        )
        message.total_duration.seconds = 2
    return request


def compare(
    name: str, daemons: tuple[Daemon, Daemon], rounds: int, prepare: Callable[[Daemon, int], Callable[[], object]]
) -> None:
    """Time one kind of call on both, and tell; ``prepare`` is not timed."""
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds):
        for which in random.sample((0, 1), 2):
            call = prepare(daemons[which], round_)
            began = time.perf_counter()
            call()
            taken[which].append((time.perf_counter() - began) * 1000)
    here, other = map(statistics.median, taken)
    ratio = statistics.median(a / b for a, b in zip(*taken, strict=True))
    print(f"{name:32} {here:9.3f} {other:9.3f} {ratio:9.3f}", flush=True)


def main() -> int:
    """Run all kinds of calls."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_checkouts", description=__doc__.split("\n")[0])
    parser.add_argument(
        "other", type=Path, metavar="OTHER", help="the other checkout, such as a git worktree of before"
    )
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="of the rounds; default: 1, a minute")
    arguments = parser.parse_args()
    numbers = count(10_000)
    with ExitStack() as stack:
        daemons = Daemon(HERE, stack), Daemon(arguments.other.resolve(), stack)
        print(f"{'medians, milliseconds':32} {'here':>9} {'other':>9} {'ratio':>9}")
        for size, rounds in ((1, 1500), (256, 600), (2000, 100), (10_000, 25)):
            echoes = {daemon: _echo(daemon, size) for daemon in daemons}
            compare(
                f"Rank, {size:,} echoed",
                daemons,
                max(5, round(rounds * arguments.share)),
                lambda daemon, _, echoes=echoes: _called(daemon, echoes[daemon]),  # type: ignore[misc]
            )
        for size, rounds in ((1, 250), (32, 30)):
            compare(
                f"Rank, {size:,} new",
                daemons,
                max(5, round(rounds * arguments.share)),
                lambda daemon, _, size=size: _called(daemon, new_prompts(size, numbers)),  # type: ignore[misc]
            )
        compare(
            "ReportCompletions, 200",
            daemons,
            max(5, round(80 * arguments.share)),
            lambda daemon, round_: _reported(daemon, _reports(daemon, 200, round_)),
        )
    return 0


def _called(daemon: Daemon, request: rank_pb2.RankRequest) -> Callable[[], object]:
    return lambda: daemon.rank(request, timeout=_DEADLINE)


def _reported(daemon: Daemon, request: completion_pb2.ReportCompletionsRequest) -> Callable[[], object]:
    return lambda: daemon.report(request, timeout=_DEADLINE)


if __name__ == "__main__":
    sys.exit(main())
