"""``rankd train``: from a log of prompts and output lengths to a ranker directory."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from rankd.cli.terminal import PlainConsole
from rankd.cli.train.flags import command_of, options_of, truncation_of
from rankd.cli.train.progress import TrainingView
from rankd.cli.train.threads import choose_threads
from rankd.errors import ConfigError
from rankd.registry.artifact_files import MANIFEST

if TYPE_CHECKING:
    from rankd.training.data.dataset import Row
    from rankd.training.fit.distributed import ProcessGroup
    from rankd.training.fit.options import FitOptions, FittedRanker

CHECKPOINT = ".checkpoint"
PRECISIONS: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32", "fp16", "int8")


def train(arguments: argparse.Namespace) -> int:
    """Read, train, export; 0 where a ranker was written.

    Raises:
        ConfigError: naming the flag at fault and the remedy.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise ConfigError("rankd train needs the extra: pip install 'rankd[train]'") from None
    from rankd.training.fit.distributed import joined

    with joined() as processes:
        console = PlainConsole(stderr=True, quiet=not processes.first)
        if processes.first:
            prepare_out(arguments.out, restart=arguments.restart)
        _train(arguments, processes, console)
    return 0


def _train(arguments: argparse.Namespace, processes: ProcessGroup, console: PlainConsole) -> None:
    fitted = train_on(arguments, lambda: read_rows(arguments, console), processes, console)
    if processes.first:
        _say_next(arguments, place_of(arguments), fitted)


def train_on(
    arguments: argparse.Namespace, rows_of: Callable[[], list[Row]], processes: ProcessGroup, console: PlainConsole
) -> FittedRanker:
    """Train on rows and write the ranker, going on from the checkpoint in ``--out`` where there is one.

    Args:
        arguments: the verb's.
        rows_of: reads the rows; called once base and options are known to be good.
        processes: those that train together.
        console: what is shown.

    Raises:
        ConfigError: naming the flag at fault and the remedy.
    """
    from rankd.training.bases.load import load_base
    from rankd.training.data.dataset import split
    from rankd.training.export.rehearsal import check_exportable
    from rankd.training.fit.fit import fit
    from rankd.training.fit.options import WITH_SPREAD

    base = load_base(arguments.base, truncation_of(arguments))
    threads = choose_threads(arguments, processes, arguments.out / CHECKPOINT, console)
    options = options_of(arguments, base.recipe, threads)
    check_exportable(base, _precisions(arguments), spread=options.loss in WITH_SPREAD)
    rows = rows_of()
    train_rows, valid_rows = split(rows, arguments.valid_share, arguments.seed)
    console.print(_plan(arguments, options, train_rows, valid_rows), highlight=False)
    with ExitStack() as stack:
        view = stack.enter_context(TrainingView(console))
        fitted = fit(
            base,
            train_rows,
            valid_rows,
            options,
            checkpoint_dir=arguments.out / CHECKPOINT,
            processes=processes,
            on_progress=view.update,
        )
    if processes.first:
        _export(arguments, fitted, rows, valid_rows, console)
        shutil.rmtree(arguments.out / CHECKPOINT, ignore_errors=True)
    return fitted


def place_of(arguments: argparse.Namespace) -> Path:
    """Where the ranker is, the first one where there are several precisions."""
    chosen = _precisions(arguments)
    out: Path = arguments.out
    return out / chosen[0] if len(chosen) > 1 else out


def prepare_out(out: Path, *, restart: bool) -> None:
    """Make sure that ``out`` can be written, and holds nothing that would be lost.

    Raises:
        ConfigError: it is no directory, cannot be written, or holds something else than this command's own.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        existing = {p.name for p in out.iterdir()}
        if restart:
            shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
        elif CHECKPOINT not in existing and existing:
            what = "a finished ranker" if MANIFEST in existing or existing & set(PRECISIONS) else "other files"
            raise ConfigError(f"--out {out} holds {what}; name another directory, or replace it with --restart")
        probe = out / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}; name another directory") from None


def read_rows(arguments: argparse.Namespace, console: PlainConsole) -> list[Row]:
    """Read --data with a progress bar, and say what was skipped.

    Raises:
        ConfigError: a path that cannot be read, or no rows in it.
    """
    from rankd.training.data.dataset import bounds_text, read_dataset, skipped_text

    columns = (TextColumn("reading"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("reading", total=None)
        dataset = read_dataset(
            arguments.data,
            most=arguments.rows,
            seed=arguments.seed,
            model=arguments.model,
            caps=dict(arguments.cap),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    cut = sum(not r.complete for r in dataset.rows)
    skipped, bounds = skipped_text(dataset, 20), bounds_text(dataset)
    console.print(
        f"{len(dataset.rows):,} of {dataset.read:,} rows in {dataset.files} files, {cut:,} of them cut off"
        + (f"; {bounds}" if bounds else "")
        + (f"; skipped: {skipped}" if skipped else ""),
        highlight=False,
    )
    return dataset.rows


def _plan(arguments: argparse.Namespace, options: FitOptions, train_rows: list[Row], valid_rows: list[Row]) -> str:
    groups = len({r.group for r in train_rows})
    return (
        f"training {arguments.base} with {options.loss} on {len(train_rows):,} rows of {groups} source-model pairs, "
        f"judged on {len(valid_rows):,}; {options.recipe.epochs} epochs, seed {options.seed}, "
        f"{options.threads} threads; checkpoints in {arguments.out / CHECKPOINT}"
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """What the manifest is to say of the ranker."""

    name: str
    version: str
    data: str
    licence: str


def _names(arguments: argparse.Namespace, fitted: FittedRanker, rows: list[Row]) -> _Names:
    counts = Counter("__".join(part for part in r.group if part) or "unnamed" for r in rows)
    shown = [f"{name} ({count} rows)" for name, count in sorted(counts.items())]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return _Names(
        arguments.name or f"{fitted.base.name}-{fitted.options.loss}",
        # The same base, rows and options give the same weights, and only they the same version.
        arguments.version or fitted.fingerprint[:12],
        arguments.data_name or ", ".join(shown[:20]) + more,
        arguments.licence or f"{fitted.base.licence} (base); not stated for the training data",
    )


def _precisions(arguments: argparse.Namespace) -> tuple[Literal["fp32", "fp16", "int8"], ...]:
    return tuple(p for p in PRECISIONS if arguments.precision in (p, "all"))


def _export(
    arguments: argparse.Namespace, fitted: FittedRanker, rows: list[Row], valid_rows: list[Row], console: PlainConsole
) -> None:
    from rankd.training.export.export import ExportPlan, export

    names, command = _names(arguments, fitted, rows), command_of(arguments, fitted.options)
    chosen = _precisions(arguments)
    for precision in chosen:
        several = len(chosen) > 1
        out = arguments.out / precision if several else arguments.out
        out.mkdir(exist_ok=True)
        with console.status(f"writing {precision} ..."):
            plan = ExportPlan(
                # Another precision is another model: no two may share name and version.
                name=names.name if arguments.name and not several else f"{names.name}-{precision}",
                version=names.version,
                precision=precision,
                calibration_rows=valid_rows,
                data=names.data,
                licence=names.licence,
                most_tau_lost=arguments.most_tau_lost,
                cuda=arguments.cuda,
                trained_rows=rows if arguments.list_rows else (),
                card={"base": fitted.base.name, "loss": fitted.options.loss, "reproduce": command},
            )
            report = export(fitted, out, plan)
        console.print(
            f"{precision}: {report.bytes / 1e6:.1f} MB, {report.tau_lost:+.4f} tau lost, scores within "
            f"{report.largest_difference:.2g} of PyTorch's",
            highlight=False,
        )
        if report.cuda is not None:
            lost = f"{report.cuda.tau_lost:+.4f} tau lost"
            console.print(f"for CUDA beside it: fp16, {report.cuda.bytes / 1e6:.1f} MB, {lost}", highlight=False)
        elif report.no_cuda:
            console.print(f"no graph for CUDA beside it: {report.no_cuda}", highlight=False)


def _say_next(arguments: argparse.Namespace, out: Path, fitted: FittedRanker) -> None:
    tau = "not measured" if math.isnan(fitted.validation_tau) else f"{fitted.validation_tau:.3f}"
    print(f"{out}: a ranker, validation tau {tau} on {arguments.valid_share:.0%} of the prompts. Next:")
    print(f"  rankd evaluate --ranker {out} --data PATHS   # judge it on rows that it has not seen")
    print(f"  rankd promote {out}   # put it into a running daemon, if it beats the one in service")
    sys.stdout.flush()
