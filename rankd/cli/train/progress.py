"""What ``rankd train`` shows while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from rankd.training.fit.options import TrainingProgress


class TrainingView:
    """A live bar with loss, tau and ETA; a plain line per epoch, which is all that a log file gets."""

    def __init__(self, console: Console) -> None:
        """Show on ``console``."""
        self._console = console
        text = TextColumn("epoch {task.fields[epoch]}  loss {task.fields[loss]}  validation tau {task.fields[tau]}")
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), text)
        self._bar = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=console.quiet)
        self._task: Any = None
        self._epoch = 0

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()

    def update(self, progress: TrainingProgress) -> None:
        """Show where the run is."""
        fields: dict[str, Any] = {
            "epoch": progress.epoch,
            "loss": f"{progress.loss:.3f}",
            "tau": "-" if progress.validation_tau is None else f"{progress.validation_tau:.3f}",
        }
        if self._task is None:
            # What a resumed run has behind it must not count as speed.
            before = progress.step - 1
            if before:
                self._console.print(f"going on from step {before:,} of {progress.steps:,}", highlight=False)
            self._task = self._bar.add_task("training", total=progress.steps, completed=before, **fields)
        self._bar.update(self._task, completed=progress.step, **fields)
        if progress.at_epoch_end:
            line = f"epoch {fields['epoch']}: loss {fields['loss']}, validation tau {fields['tau']}"
            self._console.print(line, highlight=False)
