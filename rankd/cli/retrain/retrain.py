"""``rankd retrain``: a run, what it is handed, and what is said of it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rankd_client import AdminClient
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rankd.cli.connection import connect
from rankd.cli.install import install
from rankd.cli.retrain.flags import options_of, parameters_of
from rankd.cli.terminal import PlainConsole, output
from rankd.cli.train.train import train_on
from rankd.errors import ConfigError
from rankd.text import printable

if TYPE_CHECKING:
    from rankd.registry.artifact import Artifact
    from rankd.retraining.options import TrainingResult, TrainingTask
    from rankd.retraining.run import RunRecord
    from rankd.retraining.tracking import Tracker


def retrain(arguments: argparse.Namespace) -> int:
    """Run, or say what a run would do.

    Returns:
        The outcome's exit status, see the verb's description.

    Raises:
        ConfigError: a flag or setting at fault, with the remedy.
    """
    # The tokeniser's own pool knows no other setting, and reads it once.
    os.environ.setdefault("RAYON_NUM_THREADS", str(arguments.threads or 1))
    # Looked for, not loaded: that takes seconds, and most runs of a timer find nothing new.
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        raise ConfigError("rankd retrain needs the extra: pip install 'rankd[train]'")
    from rankd.retraining.dry_run import dry_run
    from rankd.retraining.run import Retraining
    from rankd.retraining.tracking import tracker_of

    options = options_of(arguments)
    trackers = [tracker_of(text) for text in arguments.track]
    tools = _CommandLineTools(arguments)
    try:
        record = dry_run(options, tools) if arguments.dry_run else Retraining(options, tools).run()
    finally:
        tools.close()
    if record.run and not arguments.dry_run:
        _track(trackers, record, arguments, tools)
    _say(record, arguments)
    well = record.outcome.is_well and arguments.exit_zero
    return 0 if well else record.outcome.exit_status


def _say(record: RunRecord, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(record.as_json()))
        return
    colour = {0: "green", 3: "yellow", 4: "yellow", 5: "yellow"}.get(record.outcome.exit_status, "red")
    output(120).print(f"{record.outcome.value.replace('_', ' ')}: {record.reason}", style=colour)


def _track(trackers: list[Tracker], record: RunRecord, arguments: argparse.Namespace, tools: _CommandLineTools) -> None:
    for tracker in trackers:
        try:
            tracker.track(record.as_json(), parameters_of(arguments))
        except Exception as error:  # noqa: BLE001 - a tracker's trouble is not the run's
            tools.say(f"{tracker.kind} could not be told ({type(error).__name__}): {str(error)[:200]}")


class _CommandLineTools:
    """What a run is handed (``rankd.retraining.options.Tools``)."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._console = PlainConsole(stderr=True)
        self._bar: Progress | None = None

    def say(self, line: str) -> None:
        """A line on stderr, which is all that a log file gets."""
        self.close()
        self._console.print(f"retrain: {printable(line)}", highlight=False, soft_wrap=True)

    def progress(self, what: str) -> Callable[[int, int], None]:
        """A bar, begun when there is word of it."""
        task: Any = None

        def update(done: int, total: int) -> None:
            nonlocal task
            if not self._console.is_terminal or not total:
                return
            if self._bar is None:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                self._bar = Progress(*columns, console=self._console, transient=True)
                self._bar.start()
                task = self._bar.add_task(what, total=total)
            if task is not None:
                self._bar.update(task, completed=done, total=total)
            if done >= total:
                task = None
                self.close()

        return update

    def close(self) -> None:
        """End the bar that is shown."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def train(self, task: TrainingTask) -> TrainingResult:
        """Train here, as `rankd train` does."""
        from rankd.retraining.options import Epoch, TrainingResult
        from rankd.training.fit.distributed import ALONE

        self.close()
        own = {"out": task.out, "version": task.version, "margin": 0.0, "data": self._arguments.data or []}
        arguments = argparse.Namespace(**{**vars(self._arguments), **own})
        fitted = train_on(arguments, lambda: list(task.rows), ALONE, self._console)
        return TrainingResult(
            base=fitted.base.name,
            loss=fitted.options.loss,
            rows=len(task.rows),
            threads=fitted.options.threads,
            epochs=tuple(Epoch(e.loss, e.validation_tau) for e in fitted.history),
        )

    def install(self, artifact: Artifact, registry: str) -> str:
        """Copy it there, whole or not at all."""
        return install(artifact, registry)

    def connect(self, target: str) -> AdminClient:
        """By the connection flags."""
        return connect(AdminClient, target, self._arguments)
