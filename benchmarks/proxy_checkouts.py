"""Two checkouts' proxies side by side: ``python -m benchmarks.proxy_checkouts OTHER``. What did a change cost?

Both run at once before one engine that answers at once, and both ask one daemon. A batch of requests goes through one
and the same batch through the other, in random order, again and again: whatever else the machine does hits both. Told
is the processor time that each took, kernel included, and the ratio within each pair of batches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.proxy_engine import connections_of
from rankd.bench.process import MeasuredProcess

HERE = Path(__file__).parents[1]
_NOBODY = "127.0.0.1:9"
_WARM = 3
"""Batches that do not count."""


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of batch."""

    name: str
    path: str
    requests: int
    """Of a batch."""
    at_once: int
    events: int = 0
    """Of each answer's stream; 0 is a whole answer."""
    pause: float = 0.0
    """Seconds between two events of a stream: those without one come together."""
    ranked: bool = True
    """Through proxies that ask the daemon; else through those whose circuit is open."""
    per_event: bool = False
    """Told by event and not by request."""


LOADS = (
    Load("stream of 8 events", "/v1/completions", 150, 1, events=8),
    Load("stream of 8 events, 32 at once", "/v1/completions", 320, 32, events=8),
    Load("whole answer, circuit open", "/v1/completions", 250, 1, ranked=False),
    Load("whole answer, open, 32 at once", "/v1/completions", 500, 32, ranked=False),
    Load("not ranked", "/v1/models", 250, 1, ranked=False),
    Load("an event of a long stream", "/v1/completions", 16, 16, events=150, pause=0.002, per_event=True),
)


class Proxy:
    """A checkout's proxy, run by this Python with that checkout's code."""

    def __init__(self, root: Path, engine: str, target: str, stack: ExitStack) -> None:
        """Start it, and wait until it listens."""
        path = os.pathsep.join(map(str, (root, root / "clients" / "python")))
        command = (
            "rankd", "proxy", "--upstream", f"http://{engine}", "--direction", "lower-first", "--target", target,
            "--timeout", "5", "--listen", "127.0.0.1:0", "--metrics", "", "--log-format", "json",
        )  # fmt: skip
        environment = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        self._process = stack.enter_context(MeasuredProcess(command, environment=environment, cores=None))
        host, _, port = self._process.target.removeprefix("http://").rpartition(":")
        self._address = host, int(port)

    async def batch(self, load: Load) -> float:
        """Processor seconds that it takes for each request, or event, of a batch."""
        left = [load.requests]
        clients = [await asyncio.open_connection(*self._address) for _ in range(load.at_once)]
        began = self._process.processor_seconds
        await asyncio.gather(*(_ask(load, left, *client) for client in clients))
        used = self._process.processor_seconds - began
        for _, writer in clients:
            writer.close()
        return used / (load.requests * (load.events if load.per_event else 1))


async def _ask(load: Load, left: list[int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request after the other, until a batch has none left."""
    while left[0] > 0:
        left[0] -= 1
        writer.write(_request(load))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length: " in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")


def _request(load: Load) -> bytes:
    if load.path == "/v1/models":
        return b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    words = " ".join(f"w{random.randrange(10**6)}" for _ in range(20))  # noqa: S311 - no secret
    body = {"model": "m", "prompt": f"Explain {words}", "max_tokens": 100, "stream": load.events > 0}
    content = json.dumps(body | {"events": load.events, "pause": load.pause}).encode()
    lines = (
        b"POST /v1/completions HTTP/1.1",
        b"Host: engine.example",
        b"Accept: application/json",
        b"Accept-Encoding: gzip, deflate",
        b"User-Agent: OpenAI/Python 2.8.1",
        b"Authorization: Bearer sk-0123456789",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(content),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def _calm(taken: list[float]) -> float:
    """Of the quarter of batches that took least: other programs only add to what caches and the kernel cost."""
    return statistics.fmean(sorted(taken)[: max(1, len(taken) // 4)])


async def compare(load: Load, proxies: tuple[Proxy, Proxy], engine: str, rounds: int) -> dict[str, float]:
    """What one kind of batch takes in both, here first.

    Returns:
        Medians in microseconds, quartiles of the ratio, the ratio of the calmest quarters, and new connections to the
        engine for each request.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    opened = [0, 0]
    for round_ in range(rounds + _WARM):
        for which in random.sample((0, 1), 2):
            before = await connections_of(engine)
            used = await proxies[which].batch(load)
            if round_ >= _WARM:
                taken[which].append(used * 1e6)
                opened[which] += await connections_of(engine) - before - 1
    ratios = [here / other for here, other in zip(*taken, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    here, other = map(statistics.median, taken)
    total = load.requests * rounds
    return {
        "here": here, "other": other, "ratio": middle, "low": low, "high": high,
        "calm": _calm(taken[0]) / _calm(taken[1]), "opened": opened[0] / total, "before": opened[1] / total,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run all kinds of batches."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy_checkouts", description=__doc__.split("\n")[0])
    parser.add_argument(
        "other", type=Path, metavar="OTHER", help="the other checkout, such as a git worktree of before"
    )
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="pairs of batches; default: 30")
    parser.add_argument("--only", default="", metavar="TEXT", help="loads whose names hold it")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        engine = stack.enter_context(MeasuredProcess(["benchmarks.proxy_engine"], environment={}, cores=None)).target
        daemon = ["rankd", "serve", "--listen", "127.0.0.1:0", "--admin", "", "--metrics", "", "--ranker", "ngram"]
        target = stack.enter_context(MeasuredProcess(daemon, environment={}, cores=None)).target
        ways = {
            ranked: (Proxy(HERE, engine, asked, stack), Proxy(arguments.other.resolve(), engine, asked, stack))
            for ranked, asked in ((True, target), (False, _NOBODY))
        }
        print(f"{'processor time, µs':32} {'here':>8} {'other':>8} {'ratio':>7} {'quartiles':>15} {'calm':>7}  opened")
        for load in LOADS:
            if arguments.only not in load.name:
                continue
            told = asyncio.run(compare(load, ways[load.ranked], engine, arguments.rounds))
            print(
                f"{load.name:32} {told['here']:8.1f} {told['other']:8.1f} {told['ratio']:7.3f} "
                f"{told['low']:7.3f} {told['high']:7.3f} {told['calm']:7.3f}  "
                f"{told['opened']:.3f} {told['before']:.3f}",
                flush=True,
            )
    print(f"load average {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
