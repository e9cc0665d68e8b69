"""How many threads a training run gets where nobody says: cores that others keep busy would only make them wait.

The threads of a step wait for each other. One that shares its core with another process is late each time, and the
others spin meanwhile: on a busy machine all cores take longer than the idle ones alone.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rankd.cli.terminal import PlainConsole
from rankd.settings.processors import idle_cores, processor_quota, usable_cores

if TYPE_CHECKING:
    from rankd.training.fit.distributed import ProcessGroup

_KEPT = "threads"


def choose_threads(
    arguments: argparse.Namespace, processes: ProcessGroup, checkpoint: Path, console: PlainConsole
) -> int:
    """Threads of each process: those asked for, those of the run that is gone on with, or as many as cores are idle.

    The number is part of what makes a run the same run, so it stays with the checkpoint.
    """
    if arguments.threads:
        return int(arguments.threads)
    told = processes.from_first(_kept_or_idle(checkpoint, processes.size, console) if processes.first else None)
    return int(told or b"1")


def _kept_or_idle(checkpoint: Path, processes: int, console: PlainConsole) -> bytes:
    with suppress(OSError, ValueError):
        return b"%d" % max(1, int((checkpoint / _KEPT).read_text(encoding="ascii")))
    idle, cores, quota = idle_cores(), usable_cores(), processor_quota()
    threads = max(1, int(min(idle + 0.5, quota)) // processes)
    within = f", within a quota of {quota:g}" if quota < cores else ""
    console.print(
        f"--threads {threads}: {idle:.1f} of {cores} cores are idle{within}",
        highlight=False,
    )
    with suppress(OSError):  # a full disk is told of when the checkpoint is written
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / _KEPT).write_text(f"{threads}\n", encoding="ascii")
    return b"%d" % threads
