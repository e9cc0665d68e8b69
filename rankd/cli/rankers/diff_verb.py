"""``rankd rankers diff``."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from rankd.cli.connection import DONE
from rankd.cli.rankers.known import directory_named
from rankd.cli.terminal import PlainConsole, output
from rankd.quality.statistics.interval import Interval

if TYPE_CHECKING:
    from rankd.training.evaluation.paired import PairedRankers


def run(arguments: argparse.Namespace) -> int:
    """Score a log by two rankers, and print how they compare.

    Raises:
        RankdError: a ranker or the data cannot be used; the message names the remedy.
    """
    # The tokeniser's own pool knows no other setting, and reads it once.
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    from rankd.training.data.dataset import read_dataset
    from rankd.training.evaluation.paired import compare_rankers

    first = directory_named(arguments.first, arguments.registry)
    second = directory_named(arguments.second, arguments.registry)
    dataset = read_dataset(arguments.data, most=arguments.rows, seed=arguments.seed, model=arguments.model)
    console = PlainConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("prompts scored", total=1)
        found = compare_rankers(
            first,
            second,
            dataset.rows,
            provider=arguments.provider,
            threads=arguments.threads,
            with_trained=arguments.with_trained,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if arguments.json:
        print(json.dumps(as_json(found)))
    else:
        _print(found)
    return DONE


def as_json(found: PairedRankers) -> dict[str, Any]:
    """The comparison for scripts; null is undefined."""
    c = found.comparison
    return {
        "first": {
            "ranker_version": found.first,
            "tau": _plain(c.candidate.tau),
            "realised_gain": _plain(c.candidate.realised_gain),
        },
        "second": {
            "ranker_version": found.second,
            "tau": _plain(c.incumbent.tau),
            "realised_gain": _plain(c.incumbent.realised_gain),
        },
        "tau_difference": _plain(c.tau_difference),
        "realised_gain_difference": _plain(c.gain_difference),
        "rows": c.size,
        "censored": c.censored,
        "unscored": found.unscored,
        "trained": found.trained,
        "undeclared": list(found.undeclared),
        "decided_pair_share": c.decided_pair_share,
        "better": found.better,
    }


def _plain(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else {"value": value.value, "low": value.low, "high": value.high}


def _print(found: PairedRankers) -> None:
    c, console = found.comparison, output(110)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("", "tau (95 % interval)", "realised gain (95 % interval)"):
        table.add_column(name, no_wrap=True)
    for version, figures in ((found.first, c.candidate), (found.second, c.incumbent)):
        table.add_row(version, _bounded(figures.tau), _bounded(figures.realised_gain))
    table.add_row("difference", _bounded(c.tau_difference, "+"), _bounded(c.gain_difference, "+"))
    console.print(table)
    decided = "none" if c.decided_pair_share is None else f"{c.decided_pair_share:.0%}"
    left_out = f", {found.unscored:,} more got no finite score" if found.unscored else ""
    if found.trained:
        left_out += f", {found.trained:,} left out as one of them was made of their prompts"
    console.print(f"on {c.size:,} rows ({c.censored:,} cut short, {decided} of pairs decided{left_out})")
    if found.better is None:
        console.print("neither is surely better: the interval of the difference in tau holds 0, or is undefined")
    else:
        console.print(f"{found.better} is better: the interval of the difference in tau does not hold 0")
    if found.undeclared:
        versions = " and ".join(dict.fromkeys(found.undeclared))
        console.print(f"{versions}: what rows it was made of is not known; if these are among them they flatter it")


def _bounded(value: Interval | None, sign: str = "") -> str:
    if value is None:
        return "undefined"
    return f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})"
