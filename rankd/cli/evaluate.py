"""``rankd evaluate``: what a ranker is worth on a log of prompts and output lengths."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rankd.cli.terminal import PlainConsole, output
from rankd.cli.values import whole
from rankd.errors import ConfigError
from rankd.quality.statistics.interval import Interval
from rankd.registry.bundled import ranker_path
from rankd.settings import load_settings

if TYPE_CHECKING:
    from rankd.registry.artifact import Artifact
    from rankd.training.data.dataset import Dataset
    from rankd.training.evaluation.evaluate import Evaluation
    from rankd.training.evaluation.figures import EvaluationFigures
    from rankd.training.evaluation.prequential import AdaptEvaluation

MOST_LINES = 20
"""Lines of a table; the JSON has them all."""
_BAR = 20
_NONE = "-"


DEFAULT_HTML = Path("out/evaluate.html")
MOST_THREADS = 256
DEFAULT_ROWS = 10_000
"""Tau of so many rows is known to .01 or so; more rows take longer to score than they tell."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to judge, on what."""
    verb.description = (
        "Judge a ranker on prompts and output lengths that it was not trained on: how well it orders them, how near "
        "that is to what can be had, and how fast it is here."
    )
    verb.add_argument(
        "--ranker",
        required=True,
        type=ranker_path,
        metavar="DIR",
        help="with model.onnx, tokenizer.json and manifest.json, or a bundled one's name",
    )
    verb.add_argument(
        "--data",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="JSONL, JSONL.gz, CSV or Parquet files, directories or globs of them, or the daemon's completion log; "
        "rows have `prompt`, `output_token_count`, and optionally `model`, `finish_reason`, `samples`, `source`",
    )
    verb.add_argument("--model", help="take only rows that this model answered; default: all, compared within each")
    verb.add_argument(
        "--rows",
        type=whole(1, 10**9),
        default=DEFAULT_ROWS,
        metavar="N",
        help=f"most rows, drawn at random, with --adapt the first ones; default: {DEFAULT_ROWS}",
    )
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of that draw; default: 0")
    verb.add_argument(
        "--adapt",
        action="store_true",
        help="say too what learning the traffic would bring: the first --rows rows, in their order, as the daemon "
        "would learn them with the settings adapt.*",
    )
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], default="cpu", help="default: cpu")
    verb.add_argument(
        "--threads",
        type=whole(1, MOST_THREADS),
        default=1,
        metavar="N",
        help="of model and tokeniser, up to 256; default: 1",
    )
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else, and write no page unless asked")
    _further_flags(verb)


def _further_flags(verb: argparse.ArgumentParser) -> None:
    page = verb.add_mutually_exclusive_group()
    page.add_argument(
        "--html", type=Path, metavar="FILE", help=f"write the page here; default: {DEFAULT_HTML}, none with --json"
    )
    page.add_argument("--no-html", action="store_true", help="write no page")
    verb.add_argument(
        "--trained-rows",
        action="store_true",
        help="judge on rows that it was made of too, which flatter it; default: these are left out, by its manifest",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read, score, evaluate, and print it; 0 where there is a verdict.

    Raises:
        RankdError: the ranker or the data cannot be used; the message names the remedy.
    """
    # The tokeniser's own pool knows no other setting, and reads it once.
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    from rankd.registry.artifact import load_artifact
    from rankd.training.data.dataset import read_dataset
    from rankd.training.evaluation.evaluate import evaluate
    from rankd.training.evaluation.page import write_page

    artifact = load_artifact(arguments.ranker)  # before minutes of reading
    adapt = load_settings().adapt if arguments.adapt else None
    console = PlainConsole(stderr=True)
    with _bar(console, "{task.percentage:.0f} %") as bar:
        dataset = read_dataset(
            arguments.data,
            most=arguments.rows,
            seed=arguments.seed,
            model=arguments.model,
            first=arguments.adapt,
            on_progress=_on(bar, "reading"),
        )
    _say_read(dataset, console, first=arguments.adapt)
    left_out = 0 if arguments.trained_rows else _leave_out(artifact, dataset, console)
    with _bar(console, MofNCompleteColumn()) as bar:
        evaluation = evaluate(
            arguments.ranker,
            dataset.rows,
            provider=arguments.provider,
            threads=arguments.threads,
            adapt=adapt,
            on_progress=_on(bar, "scoring"),
            on_learning=_on(bar, "learning"),
        )
    if arguments.json:
        print(json.dumps(_as_json(evaluation, dataset, left_out)))
    else:
        output(110).print(view(evaluation))
    html = arguments.html or (None if arguments.json or arguments.no_html else DEFAULT_HTML)
    if html is not None:
        write_page(evaluation, html)
        console.print(f"{html}: the same with pictures", highlight=False)
    return 0


def _bar(console: PlainConsole, amount: Any) -> Progress:
    shown = TextColumn(amount) if isinstance(amount, str) else amount
    columns = (TextColumn("{task.description}"), BarColumn(), shown, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _on(bar: Progress, what: str) -> Callable[[int, int], None]:
    """A line of the bar, shown once there is word of it."""
    task = bar.add_task(what, total=None, visible=False)
    return lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)


def _say_read(dataset: Dataset, console: PlainConsole, *, first: bool) -> None:
    from rankd.training.data.dataset import bounds_text, skipped_text

    skipped = sum(dataset.skipped.values())
    line = f"{dataset.read:,} rows in {dataset.files:,} {'file' if dataset.files == 1 else 'files'}"
    if skipped:
        line += f", {skipped:,} skipped ({skipped_text(dataset, 5)})"
    if bounds := bounds_text(dataset):
        line += f", {bounds}"
    if len(dataset.rows) < dataset.read - skipped:
        line += f", the first {len(dataset.rows):,} taken" if first else f", {len(dataset.rows):,} drawn"
    console.print(line, highlight=False)


def _leave_out(artifact: Artifact, dataset: Dataset, console: PlainConsole) -> int:
    """Take rows that the ranker was made of out of those read; how many they were.

    Raises:
        ConfigError: nothing is left.
    """
    from rankd.training.evaluation.unseen import in_words, unseen_rows

    unseen = unseen_rows([artifact], dataset.rows)
    if not unseen.rows:
        raise ConfigError(
            f"--data: the ranker was made of all {unseen.left_out:,} rows, which would flatter it; give rows that it "
            "has not seen, or --trained-rows"
        )
    if text := in_words(unseen):
        console.print(text, highlight=False)
    dataset.rows = unseen.rows
    return unseen.left_out


def _as_json(evaluation: Evaluation, dataset: Dataset, left_out: int) -> dict[str, Any]:
    from rankd.training.evaluation.json_report import as_json

    skipped: Counter[str] = dataset.skipped
    data = {
        "files": dataset.files,
        "rows_read": dataset.read,
        "skipped": dict(sorted(skipped.items())),
        "unknown_finish_reasons": dataset.unknown_reasons,
        "trained_rows_left_out": left_out,
    }
    return {**as_json(evaluation), "data": data}


def view(evaluation: Evaluation) -> RenderableType:
    """The verdict for people."""
    parts: list[RenderableType] = [_head(evaluation)]
    if len(evaluation.groups) > 1:
        parts.append(_breakdown("source and model", evaluation.groups))
    if len(evaluation.models) > 1 and len(evaluation.models) < len(evaluation.groups):
        parts.append(_breakdown("model", evaluation.models))
    if len(evaluation.sources) > 1 and len(evaluation.sources) < len(evaluation.groups):
        parts.append(_breakdown("source", evaluation.sources))
    if len(evaluation.scripts) > 1:
        parts.append(_breakdown("script", evaluation.scripts))
    if evaluation.adapt is not None:
        parts.append(_learning(evaluation.adapt))
    return Group(*parts)


def _learning(adapt: AdaptEvaluation) -> RenderableType:
    """What learning the traffic would bring."""
    from rankd.training.evaluation.learning_card import COLUMNS, cells, model_text, verdict

    table = Table(title=None, box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for point in adapt.points:
        table.add_row(*cells(point))
    models = [Text(model_text(m)) for m in adapt.models[:MOST_LINES]]
    shown: list[RenderableType] = ["learning the traffic, rows in their order, tau:", table] if adapt.points else []
    return Group("", *shown, Text(verdict(adapt), style="bold"), *models)


def _head(e: Evaluation) -> RenderableType:
    from rankd.training.evaluation.graphs import in_words
    from rankd.training.evaluation.json_report import estimator

    o, s = e.overall, e.speed
    table = Table.grid(padding=(0, 2))
    table.add_row("ranker", Text(e.ranker, style="bold"))
    table.add_row("rows", f"{o.rows:,}, {s.prompts:,} different prompts" + _left_out(e))
    if o.censored:
        decided = f"{e.decided_pair_share:.1%}" if e.decided_pair_share is not None else "none"
        table.add_row("cut off", f"{o.censored:,} rows are lower bounds; {decided} of the pairs are decided")
        table.add_row("counted", estimator(e))
    table.add_row("tau", _bounded(o.tau, "1 is a perfect order, 0 is chance"))
    table.add_row("realised gain", _bounded(o.realised_gain, "share of a perfect order's gain"))
    if o.ceiling is not None and o.ceiling.tau_share is not None:
        gain = "" if o.ceiling.realised_gain is None else f", realised gain {o.ceiling.realised_gain:.3f}"
        note = f"tau {o.ceiling.tau:.3f}{gain} between samples of {o.ceiling.rows:,} prompts"
        table.add_row("ceiling", f"{note}; tau is {o.ceiling.tau_share:.0%} of it")
    table.add_row("tau of head, tail", f"{_plain(e.head_tau)} up to the median length, {_plain(e.tail_tau)} above")
    if e.pooled_tau is not None and len(e.groups) > 1:
        table.add_row("tau, one queue", f"{e.pooled_tau:.3f} over all rows, whatever source and model")
    table.add_row("calibration", _calibration(e))
    threads = f"{s.threads} thread{'' if s.threads == 1 else 's'}"
    on_gpu = "" if s.device_share is None else f", {s.device_share:.0%} of the model's time on the GPU"
    table.add_row("throughput", f"{s.prompts_per_second:,.1f} prompts/s in batches, {threads} on {s.provider}{on_gpu}")
    table.add_row(
        "latency", f"p50 {s.latency_p50_ms:.2f} ms, p99 {s.latency_p99_ms:.2f} ms, one of {s.latency_prompts} at a time"
    )
    table.add_row("machine", s.machine)
    for graph in e.graphs if len(e.graphs) > 1 else ():
        table.add_row("graph", in_words(graph))
    return table


def _left_out(e: Evaluation) -> str:
    return f"; {e.unscored:,} more got no finite score" if e.unscored else ""


def _calibration(e: Evaluation) -> str:
    quality = e.calibration
    if quality is None:
        return "none in the manifest"
    text = f"expects {quality.expected_tokens:,.0f} tokens on average, {quality.actual_tokens:,.0f} were true"
    if quality.below_p50 is not None and quality.below_p90 is not None:
        text += f"; {quality.below_p50:.0%} below its p50, {quality.below_p90:.0%} below its p90"
    return text


def _breakdown(title: str, lines: Sequence[EvaluationFigures]) -> RenderableType:
    table = Table(title=None, box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(title, overflow="fold")
    for column in ("rows", "tau", "95 %", "of ceiling", "gain", "mean tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    for f in lines[:MOST_LINES]:
        share = f.ceiling.tau_share if f.ceiling else None
        table.add_row(
            f.name or "unnamed",
            f"{f.rows:,}",
            _NONE if f.tau is None else f"{f.tau.value:.3f}",
            _NONE if f.tau is None else f"{f.tau.low:.3f} to {f.tau.high:.3f}",
            _NONE if share is None else f"{share:.0%}",
            _NONE if f.realised_gain is None else f"{f.realised_gain.value:.3f}",
            f"{f.mean_tokens:,.0f}",
        )
    hidden = len(lines) - MOST_LINES
    return Group("", table, *([f"and {hidden:,} more; --json has them all"] if hidden > 0 else []))


def _bounded(value: Interval | None, note: str) -> str:
    if value is None:
        return "too few rows to tell"
    bar = "█" * round(max(0.0, min(1.0, value.value)) * _BAR)
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f}) {bar:░<{_BAR}} {note}"


def _plain(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"
