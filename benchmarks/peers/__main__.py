"""rankd beside other servers of the same encoder, turn about on the same cores: ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.peers.encoders import Environment, Infinity, TransformersLoop, default_environment, usable_cores
from benchmarks.peers.loads import LOADS, Load, Row, measure
from benchmarks.peers.peer import Peer, Rankd
from benchmarks.peers.tables import tables
from rankd.bench.prompts import PromptSupply
from rankd.errors import RankdError
from rankd.version import VERSION

NAMES = ("rankd", "infinity-torch", "infinity-optimum", "transformers")
SAME = 0.97
"""Cosine below which two vectors of a prompt are not the same encoder's; int8 has .98 to .99."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split(":")[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="whom to measure; default: all")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each; default: 5")
    parser.add_argument(
        "--seconds", type=float, default=4.0, metavar="S", help="a turn takes at least so long; default: 4"
    )
    parser.add_argument("--quick", action="store_true", help="one round of a second each, fewer settings tried")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt per line; default: made-up ones")
    parser.add_argument("--ranker", metavar="DIR", help="what rankd serves; default: its bundled ranker")
    parser.add_argument(
        "--environment", type=Path, default=default_environment(), metavar="DIR", help="the peers' virtual environment"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    found = parser.parse_args(arguments)
    if found.quick:
        found.rounds, found.seconds = 1, min(found.seconds, 1.0)
    if found.rounds < 1 or found.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    return found


def peers_of(arguments: argparse.Namespace) -> list[Peer]:
    """Those that were asked for.

    Raises:
        ConfigError: their environment is not there.
    """
    chosen: list[Peer] = []
    if "rankd" in arguments.only:
        chosen.append(Rankd(sys.executable, arguments.ranker))
    if set(arguments.only) == {"rankd"}:
        return chosen
    environment = Environment(arguments.environment)
    patience, warm_up = (2.0, False) if arguments.quick else (20.0, True)
    if "transformers" in arguments.only:
        chosen += [TransformersLoop(environment, p, patience=patience) for p in ("float32", "bfloat16")]
    if "infinity-torch" in arguments.only:
        chosen += [Infinity(environment, "torch", p, warm_up=warm_up) for p in ("float32", "bfloat16")]
    if "infinity-optimum" in arguments.only:
        chosen += [Infinity(environment, "optimum", p, warm_up=warm_up) for p in ("fp32", "int8")]
    return chosen


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        lines = cpus.read_text(encoding="ascii", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"cpu": model, "cores": usable_cores(), "load": os.getloadavg(), "python": platform.python_version()}


class Comparison:
    """The peers that came up, and their figures."""

    def __init__(self, peers: Sequence[Peer], supply: PromptSupply) -> None:
        """Take the peers; nothing runs yet."""
        self._waiting = peers
        self._supply = supply
        self._running: list[Peer] = []
        self._rows: dict[str, dict[str, Row]] = {}
        self.failures: dict[str, str] = {}
        self.agreement: dict[str, float] = {}
        self.reference = ""

    async def start(self, progress: Progress, task: TaskID) -> None:
        """Start one after the other; each is paused until its turn. One that does not come up is left out."""
        for peer in self._waiting:
            progress.update(task, description=f"start {peer.name}")
            try:
                await peer.start(self._batches())
                self._running.append(peer)
            except RankdError as error:
                self.failures[peer.name] = str(error)
            else:
                peer.pause()
            progress.advance(task)

    def _batches(self) -> Iterator[list[str]]:
        while True:
            yield self._supply.take(256)

    async def agree(self) -> None:
        """Compare the vectors of the encoders with those of the first; other vectors are another model.

        Raises:
            RankdError: they are not of the same encoder.
        """
        prompts = self._supply.take(16)
        first = None
        for peer in (p for p in self._running if p.encoder):
            peer.resume()
            vectors = await peer.vectors(prompts)
            peer.pause()
            if first is None:
                first, self.reference = vectors, peer.name
                continue
            cosine = float(np.min(np.sum(first * vectors, axis=1)))
            self.agreement[peer.name] = cosine
            if cosine < SAME:
                raise RankdError(f"{peer.name} is not the encoder of {self.reference}: cosine {cosine:.3f}")

    async def run(self, loads: Sequence[Load], rounds: int, seconds: float, progress: Progress, task: TaskID) -> None:
        """All turns: in each round, for each load, the peers in random order."""
        shuffled = random.Random(1)  # noqa: S311 - nothing secret
        for _ in range(rounds):
            for load in loads:
                for peer in shuffled.sample(self._running, len(self._running)):
                    if peer.name not in self.failures and (peer.several or load.clients == 1):
                        progress.update(task, description=f"{peer.name}: {load.name}")
                        await self._turn(peer, load, seconds)
                    progress.advance(task)

    async def _turn(self, peer: Peer, load: Load, seconds: float) -> None:
        peer.resume()
        try:
            sample = await measure(peer, load, self._supply, seconds)
            self._rows.setdefault(peer.name, {}).setdefault(load.name, Row()).samples.append(sample)
        except RankdError as error:
            self.failures[peer.name] = f"{load.name}: {error}"
        finally:
            peer.pause()

    async def stop(self) -> None:
        """End all that runs."""
        for peer in self._waiting:
            await peer.stop()

    def figures(self) -> dict[str, Any]:
        """By peer, as they were asked for, and load."""
        return {
            peer.name: {load: row.figures() for load, row in self._rows[peer.name].items()}
            for peer in self._running
            if peer.name in self._rows
        }

    def settings(self) -> dict[str, str]:
        """How each was set."""
        return {peer.name: peer.settings for peer in self._running}


async def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all of it."""
    peers = peers_of(arguments)
    comparison = Comparison(peers, PromptSupply(arguments.prompts))
    # Whoever ends this must not leave paused processes behind.
    this = asyncio.current_task()
    assert this
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    columns = (TextColumn("{task.description:44}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("start", total=len(peers) * (1 + len(LOADS) * arguments.rounds))
        try:
            await comparison.start(progress, task)
            await comparison.agree()
            await comparison.run(LOADS, arguments.rounds, arguments.seconds, progress, task)
        finally:
            await comparison.stop()
        progress.update(task, description="done")
    return {
        "machine": machine(),
        "when": time.strftime("%Y-%m-%d"),
        "rankd": VERSION,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "prompts": str(arguments.prompts or "made up"),
        "settings": comparison.settings(),
        "agreement": comparison.agreement,
        "reference": comparison.reference,
        "failures": comparison.failures,
        "figures": comparison.figures(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, show; 1 if somebody could not be measured, 2 if nobody."""
    found = parse(arguments)
    try:
        results = asyncio.run(compare(found))
    except (RankdError, asyncio.CancelledError, KeyboardInterrupt) as error:
        print(f"peers: {str(error) or 'interrupted'}", file=sys.stderr)
        return 2
    if found.json:
        found.json.parent.mkdir(parents=True, exist_ok=True)
        found.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(tables(results, [load.name for load in LOADS]))
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
