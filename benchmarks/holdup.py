"""How many of a burst are ranked, and what that holds up: ``python -m benchmarks.holdup``.

Proxy and middleware before an engine with a few places: with no setting changed, and with fixed timeouts of 50 ms and
1 s, in turns. All prompts are new. The lengths are made up, so that the guard is off: what is measured is who is scored
in time. Says of each bar whether it was reached.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from rankd.bench.process import MeasuredProcess
from rankd.bench.prompts import PromptSupply

_TIMEOUTS = {"follows the queue": "", "0.05 s": "0.05", "1 s": "1"}
_RANKED = re.compile(r'^rankd_(?:proxy|engine)_requests_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)
_SHORT, _LONG = ("Be brief", "one word"), ("essay", "each step", "three examples")


@dataclass
class Way:
    """One way to the engine, and what was seen of it."""

    name: str
    timeout: str
    url: str
    metrics: str
    direct: str
    ranked: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.holdup", description=__doc__.partition(":")[0])
    parser.add_argument("--ranker", default="minilm-l6", help="of the daemon; default: minilm-l6")
    parser.add_argument("--burst", type=int, default=100, metavar="N", help="requests of a burst; default: 100")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="bursts each way; default: 5")
    parser.add_argument("--singles", type=int, default=20, metavar="N", help="behind each burst; default: 20")
    parser.add_argument("--places", type=int, default=8, metavar="N", help="of the engine; default: 8")
    parser.add_argument("--pace", type=float, default=0.005, metavar="S", help="per output token; default: 0.005")
    parser.add_argument("--whole", action="store_true", help="answers in one piece, and not as streams")
    parser.add_argument("--engine-places", default="0", metavar="N", help="of the proxy that follows; default: 0, off")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        ways = _started(stack, arguments)
        asyncio.run(_measure(ways, arguments))
    _print(ways, arguments.burst)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(w) for w in ways], indent=1), encoding="utf-8")
    return 0


def _started(stack: ExitStack, arguments: argparse.Namespace) -> list[Way]:
    def started(*command: str, **environment: str) -> MeasuredProcess:
        return stack.enter_context(MeasuredProcess(command, environment=environment, cores=None))

    daemon = started("rankd", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "",
                     "--ranker", arguments.ranker, "--provider", "cpu",
                     RANKD_GUARD__ENABLED="false")  # fmt: skip
    engine = ("benchmarks.slot_engine", "--places", str(arguments.places), "--pace", str(arguments.pace))
    alone = started(*engine)
    ways = []
    for timeout, seconds in _TIMEOUTS.items():
        behind = started(*engine, "--middleware", RANKD_TARGET=daemon.target, RANKD_TIMEOUT=seconds)
        ways.append(Way("middleware", timeout, behind.target, behind.target, alone.target))
        metrics = f"127.0.0.1:{_free_port()}"
        places = arguments.engine_places if not seconds else "0"
        proxy = started("rankd", "proxy", "--upstream", f"http://{started(*engine).target}", "--direction",
                        "lower-first", "--listen", "127.0.0.1:0", "--metrics", metrics, "--log-format", "json",
                        "--engine-places", places, RANKD_TARGET=daemon.target, RANKD_TIMEOUT=seconds)  # fmt: skip
        ways.append(Way("proxy", timeout, proxy.target.removeprefix("http://"), metrics, alone.target))
    return ways


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def _measure(ways: Sequence[Way], arguments: argparse.Namespace) -> None:
    serial = itertools.count(time.time_ns())
    prompts, chance = PromptSupply(None, seed=time.time_ns()), random.Random(7)  # noqa: S311 - no secret
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:

        async def ask(address: str, prompt: str = "What is a queue?", tokens: int = 1) -> float:
            prompt = f"{next(serial)} {prompt}"  # a prompt that is known costs nothing
            body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
            began = time.perf_counter()
            async with session.post(
                f"http://{address}/v1/completions", json=body | ({} if arguments.whole else {"stream": True})
            ) as answer:
                await answer.read()
            return time.perf_counter() - began

        for number in range(arguments.rounds):
            turns = list(ways)
            random.Random(number).shuffle(turns)  # noqa: S311 - no secret
            asked = [(prompt, _tokens(prompt, chance)) for prompt in prompts.take(arguments.burst)]
            for way in turns:
                before = await _ranked(session, way)
                taken = await asyncio.gather(*(ask(way.url, *one) for one in asked))
                way.ranked.append(await _ranked(session, way) - before)
                way.means.append(statistics.fmean(taken))
                for _ in range(arguments.singles):
                    direct = await ask(way.direct)
                    way.holds.append((await ask(way.url) - direct) * 1e3)
                await _ranked(session, way)


async def _ranked(session: aiohttp.ClientSession, way: Way) -> int:
    await asyncio.sleep(0.3)  # a page of metrics is shown again for a moment
    async with session.get(f"http://{way.metrics}/metrics") as page:
        found = {name: float(value) for name, value in _RANKED.findall(await page.text())}
    way.outcomes = {name: int(count) for name, count in found.items()}
    return way.outcomes.get("ranked", 0)


def _tokens(prompt: str, chance: random.Random) -> int:
    """About as long as an answer to it would be."""
    usual = 20 if any(w in prompt for w in _SHORT) else 250 if any(w in prompt for w in _LONG) else 80
    return max(1, round(usual * chance.lognormvariate(0, 0.5)))


def _print(ways: Sequence[Way], burst: int) -> None:
    print(
        "| way | timeout | ranked, each burst | mean, each burst (s) | mean (s) | a single's hold-up (ms) | outcomes |"
    )
    print("|---|---|---|---|---|---|---|")
    for way in ways:
        means = ", ".join(f"{mean:.2f}" for mean in way.means)
        held = f"{statistics.median(way.holds):.1f}" if way.holds else ""
        ranked = ", ".join(map(str, way.ranked))
        average, counts = f"{statistics.fmean(way.means):.2f}", json.dumps(way.outcomes)
        cells = (way.name, way.timeout, ranked, means, average, held, counts)
        print(f"| {' | '.join(cells)} |")
    for name in dict.fromkeys(way.name for way in ways):
        follows, _, second = (way for way in ways if way.name == name)
        longer = [a - b for a, b in zip(follows.means, second.means, strict=True)]
        error = statistics.stdev(longer) / len(longer) ** 0.5 if len(longer) > 1 else 0.0
        least = 100 * min(follows.ranked) / burst
        print(f"{name}: at least 95 of 100 ranked: {_said(least >= 95)} ({least:.0f} at the least)")
        said = _said(statistics.fmean(longer) <= 2 * error)
        print(f"{name}: mean at most that of 1 s: {said} ({statistics.fmean(longer):+.2f} s, error {error:.2f})")
        if follows.holds:
            single = statistics.median(follows.holds)
            print(f"{name}: a single held up by at most 10 ms at the median: {_said(single <= 10)} ({single:.1f} ms)")


def _said(reached: bool) -> str:
    return "reached" if reached else "NOT REACHED"


if __name__ == "__main__":
    sys.exit(main())
