"""``rankd bench --target``: what is sent is said, then sent, and what came back is shown."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable

from rankd_client import AsyncRankClient, RankdRefusedError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rankd.bench.machine import machine
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import Figures
from rankd.bench.target import TargetLoad, send_load

_CONNECT = 10.0
"""Seconds until the daemon must have answered at all."""
_LATE = 0.2
"""A share of the deadline that the generator may be late by, at the 99th percentile."""
_BUSY = 0.9


def bench_target(
    arguments: argparse.Namespace, load: TargetLoad, connect: Callable[[], AsyncRankClient], prompts: PromptSupply
) -> int:
    """Send load to the daemon that runs at ``arguments.target``.

    Raises:
        RankdUnavailableError: it does not answer.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(load.in_words(arguments.target, prompts))
    figures = asyncio.run(_run(load, connect, prompts, console))
    results: Figures = {
        "machine": machine(),
        "settings": {
            "target": arguments.target,
            "rate": load.rate,
            "seconds": load.seconds,
            "deadline": load.deadline,
            "in_flight": load.most_open,
            "model": load.model,
            "prompts": prompts.source,
        },
        "figures": {"target": figures},
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _show(figures, load, arguments.target)
    return 0


async def _run(
    load: TargetLoad, connect: Callable[[], AsyncRankClient], prompts: PromptSupply, console: Console
) -> Figures:
    columns = (TextColumn("target"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    async with connect() as client:
        try:
            await client.quality(timeout=_CONNECT)  # connects before anything is measured
        except RankdRefusedError:
            console.print("the daemon does not show its quality to this caller; whether it ranks for it is measured")
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("target", total=1.0)
            figures = await send_load(client, load, prompts, lambda share: progress.update(task, completed=share))
            progress.update(task, completed=1.0)
        if client.stats.last_error:
            figures["last_error"] = client.stats.last_error
    return figures


def _show(figures: Figures, load: TargetLoad, target: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    table = Table(title=f"{target} at {load.rate:g} calls a second")
    for column in ("figure", "measured"):
        table.add_column(column)
    for name in ("calls", "calls_not_sent"):
        table.add_row(name, f"{figures[name]:,}")
    for name in ("calls_per_second", "answered_share", "scored_share", "ranked_share", "generator_share"):
        table.add_row(name, f"{figures[name]:.4g}")
    for name in ("call_ms", "generator_behind_ms"):
        for statistic, value in figures.get(name, {}).items():
            table.add_row(f"{name} {statistic}", f"{value:.4g}")
    for kind, count in sorted(figures["outcomes"].items(), key=lambda item: -item[1]):
        table.add_row(f"outcome {kind}", f"{count:,}")
    console.print(table)
    for caveat in caveats(figures, load):
        console.print(caveat)


def caveats(figures: Figures, load: TargetLoad) -> list[str]:
    """What speaks against the figures."""
    out = []
    if figures["calls_not_sent"]:
        out.append(
            f"{figures['calls_not_sent']:,} calls were not sent, as {load.most_open:,} were under way (--in-flight): "
            "they count as not answered."
        )
    behind = figures.get("generator_behind_ms", {}).get("p99", 0.0)
    if figures["generator_share"] > _BUSY or behind > _LATE * load.deadline * 1000:
        out.append(
            f"The generator itself was late ({behind:.3g} ms at the 99th percentile, {figures['generator_share']:.0%} "
            "of a core): these figures are partly its own. Take a lower rate, or generators on other machines."
        )
    if any(kind == "reason_guard" for kind in figures["outcomes"]):
        out.append(
            f"The guard does not rank for {load.model!r}, of which nothing was reported; scored_share tells what the "
            "daemon could do. --model names a model that is ranked."
        )
    if "last_error" in figures:
        out.append(f"The last error: {figures['last_error']}")
    return out
