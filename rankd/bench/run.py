"""``rankd bench``: starts what is measured, runs the scenarios, shows the figures."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from rankd.bench import SCENARIOS, scenarios
from rankd.bench.calls import calls
from rankd.bench.floor import FLOORS, OfflineLoop
from rankd.bench.machine import machine
from rankd.bench.overload import overload
from rankd.bench.process import MeasuredProcess, two_cores
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import Figures
from rankd.bench.throughput import loop_shapes, throughput
from rankd.errors import ConfigError
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.scoring.session import SessionOptions
from rankd.settings.processors import usable_cores
from rankd.version import VERSION

# (scenario, path of the figure, what it should be, whether a value is that)
AIMS: list[tuple[str, tuple[str, ...], str, Callable[[float], bool]]] = [
    ("latency", ("added_ms", "median"), "at most 1.5 ms over the floors", lambda v: v <= 1.5),
    (
        "throughput",
        ("daemon", "default", "ratio_to_best_loop", "median"),
        "at least 0.85 of the best loop",
        lambda v: v >= 0.85,
    ),
    ("echo", ("ms_256", "median"), "under 3 ms", lambda v: v < 3),
    ("echo", ("ms_10000", "median"), "under 80 ms", lambda v: v < 80),
    ("calls", ("calls_per_second", "median"), "at least 3,000", lambda v: v >= 3000),
    ("overload", ("answered_share",), "at least 0.999", lambda v: v >= 0.999),
    ("overload", ("ranked_of_100_after_5_s",), "100", lambda v: v == 100),
    ("queue", ("ratio",), "about 1: as soon as the model can have read it", lambda v: v <= 1.25),
    ("memory", ("ratio",), "at most 1.10", lambda v: v <= 1.10),
]

_BESIDE = ("ratio_to_best_loop", "processor_ms_per_prompt", "generator_ms_per_prompt", "generator_cores")
_COLUMNS = ("what", "median", "25 to 75 %", "of best loop", "its ms of CPU", "generator's ms", "generator's cores")


def bench(arguments: argparse.Namespace) -> int:
    """Run the scenarios that were asked for."""
    chosen = arguments.scenarios or [s for s in SCENARIOS if s != "memory"]
    if unknown := set(chosen) - set(SCENARIOS):
        raise ConfigError(f"no scenario {min(unknown)!r}: choose from {', '.join(SCENARIOS)}")
    results: Figures = {"machine": machine(), "settings": _settings(arguments), "figures": {}}
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for name in chosen:
            task = progress.add_task(name, total=1.0)
            results["figures"][name] = _run_scenario(name, arguments, partial(_show_progress, progress, task))
            progress.update(task, completed=1.0)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _show(results)
    return 0


def _show_progress(progress: Progress, task: TaskID, share: float) -> None:
    progress.update(task, completed=share)


def _run_scenario(name: str, arguments: argparse.Namespace, on_progress: Callable[[float], None]) -> Figures:  # noqa: PLR0911
    """One scenario, with a fresh daemon."""
    prompts = PromptSupply(arguments.prompts, seed=SCENARIOS.index(name))
    daemon_cores, generator_cores = two_cores() if name in ("calls", "overload") else (None, None)
    before = os.sched_getaffinity(0) if generator_cores else None
    with ExitStack() as stack:
        daemon = stack.enter_context(_daemon(arguments, daemon_cores))
        if generator_cores and before:
            os.sched_setaffinity(0, generator_cores)
            stack.callback(os.sched_setaffinity, 0, before)
        if name == "latency":
            empty = stack.enter_context(MeasuredProcess(["rankd.bench.floor"], environment={}, cores=None))
            return scenarios.latency(daemon, empty, _offline(arguments), prompts, arguments.rounds, on_progress)
        if name == "calls":
            floors = {
                floor: stack.enter_context(
                    MeasuredProcess(["rankd.bench.floor", floor], environment={}, cores=daemon_cores)
                )
                for floor in FLOORS
            }
            return calls(daemon, floors, prompts, arguments.rounds, on_progress)
        if name == "throughput":
            one = stack.enter_context(_daemon(arguments, None, workers=1))
            loops = {shape: _offline(arguments, *shape) for shape in loop_shapes(usable_cores(), arguments.threads)}
            daemons = {"default": daemon, "one worker": one}
            return throughput(daemons, loops, prompts, arguments.rounds, on_progress)
        if name == "echo":
            return scenarios.echo(daemon, prompts, arguments.rounds, on_progress)
        if name == "queue":
            return scenarios.long_queue(daemon, _offline(arguments), prompts, on_progress)
        if name == "overload":
            return overload(daemon, prompts, arguments.seconds, on_progress)
        return scenarios.soak(daemon, prompts, arguments.requests, on_progress)


def _daemon(arguments: argparse.Namespace, cores: set[int] | None, workers: int | None = None) -> MeasuredProcess:
    command = ["rankd", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--provider", arguments.provider]
    if arguments.ranker:
        # Absolute, since `./ngram` as a Path is `ngram`, which means a bundled one.
        command += ["--ranker", str(arguments.ranker.absolute())]
    # Made-up completions say nothing about the ranker, and the guard would be right to say so.
    environment = {
        "RANKD_SCORING__THREADS": str(arguments.threads),
        "RANKD_SCORING__WORKERS": str(arguments.workers if workers is None else workers),
        "RANKD_LOG_FORMAT": "json",
        "RANKD_GUARD__ENABLED": "false",
    }
    return MeasuredProcess(command, environment=environment, cores=cores)


def _offline(arguments: argparse.Namespace, workers: int = 1, threads: int = 0) -> OfflineLoop:
    """A loop for so many workers, which share the threads of one session as the daemon's do."""
    artifact = load_artifact(arguments.ranker or default_ranker_path())
    threads = 1 + ((threads or arguments.threads) - 1) * workers
    return OfflineLoop(artifact, SessionOptions(arguments.provider, threads=threads))


def _settings(arguments: argparse.Namespace) -> Figures:
    return {
        "ranker": str(arguments.ranker or "bundled"),
        "provider": arguments.provider,
        "threads": arguments.threads,
        "workers": arguments.workers,
        "prompts": str(arguments.prompts or "made up"),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
    }


def _show(results: Figures) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"rankd {VERSION} on {results['machine']['cpu']}, {results['machine']['cores']} cores")
    for column in ("scenario", "figure", "measured", "aim", ""):
        table.add_column(column)
    for name, path, aim, met in AIMS:
        value = results["figures"].get(name)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            table.add_row(name, " ".join(path), f"{value:.4g}", aim, "met" if met(value) else "MISSED")
    console.print(table)
    if "throughput" in results["figures"]:
        console.print(_rates(results["figures"]["throughput"]))


def _rates(figures: Figures) -> Table:
    """The loops and the daemons beside each other."""
    table = Table(title="prompts a second: loops by workers x threads, and daemons")
    for column in _COLUMNS:
        table.add_column(column)
    for name, found in (*figures["offline"].items(), *figures["daemon"].items()):
        rate = found["prompts_per_second"]
        more = [f"{found[key]['median']:.3g}" if key in found else "" for key in _BESIDE]
        table.add_row(name, f"{rate['median']:.0f}", f"{rate['p25']:.0f} to {rate['p75']:.0f}", *more)
    return table
