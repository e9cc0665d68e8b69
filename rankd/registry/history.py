"""What was in service and why, kept in the registry: ``history.jsonl``, a line a step, and the link ``serving``.

The file is the truth. A step is taken once its line is written whole, newline and all, and synced; a line that is torn
by a crash was never taken. The link is written after the line and says the same to people and scripts; where both
differ the file is believed, and the link is put right at the next start. Replicas may share the directory: lines are
appended under a lock, and what the last one says is what a replica that starts serves.

Kept are versions, directories, times and figures, and who asked by the name that ``auth.file`` gives them. No prompt.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError
from rankd.registry.history_file import HistoryFile
from rankd.registry.history_steps import (
    Beginning,
    HistoryStep,
    Place,
    RankerChoice,
    StepEvidence,
    StepKind,
    line_of,
    step_of,
    steps_of_lines,
)

__all__ = [
    "Beginning",
    "HistoryStep",
    "Place",
    "RankerChoice",
    "ServiceHistory",
    "StepEvidence",
    "StepKind",
    "line_of",
    "new_step",
    "point",
    "stack_of",
    "step_of",
]

HISTORY = "history.jsonl"
SERVING = "serving"
"""The link to what is in service."""
MOST_STEPS = 1000
"""Of the newest steps, those that are kept in memory."""


class ServiceHistory:
    """The steps of a registry, the newest last. Without a registry they are remembered until the process ends.

    ``append`` and ``refresh`` read and write files; everything else is from memory. All may be called in any thread.
    """

    def __init__(self, registry: Path | None) -> None:
        """Read what is there; ``trouble`` says where it cannot be read. A daemon starts all the same."""
        self._registry = registry
        self._file = None if registry is None else HistoryFile(registry / HISTORY)
        self._lock = threading.Lock()
        self._steps: tuple[HistoryStep, ...] = ()
        self._unwritten: tuple[HistoryStep, ...] = ()
        self._looking: asyncio.Task[None] | None = None
        self.skipped = 0
        """Lines that are no steps: damaged, or of another rankd."""
        self.beginning: Beginning | None = None
        """None until the daemon has begun."""
        self.trouble = ""
        """Why the file does not say what is in service. Empty: it does."""
        with suppress(ArtifactError):
            self.refresh()

    def refresh(self) -> None:
        """Read the file anew where it changed: another replica may have appended.

        Raises:
            ArtifactError: HISTORY_UNREADABLE.
        """
        if self._file is None:
            return
        with self._lock:
            try:
                lines = self._file.changed_lines()
            except OSError as error:
                self.trouble = f"{self._file.path} cannot be read: {error.strerror or error}"
                raise ArtifactError("HISTORY_UNREADABLE", self.trouble) from None
            if lines is not None:
                steps, self.skipped = steps_of_lines(lines)
                self._steps = (*steps, *self._unwritten)[-MOST_STEPS:]
                if not self._unwritten:
                    self.trouble = ""

    def look(self) -> None:
        """Refresh in the background, unless that is under way; where the file cannot be read, ``trouble`` says so."""
        if self._file is not None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name="rankd-history")

    async def _look(self) -> None:
        with suppress(ArtifactError):
            await asyncio.to_thread(self.refresh)

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def recent(self, most: int = MOST_STEPS) -> list[HistoryStep]:
        """The newest steps, the newest last; from memory, for any thread."""
        return list(self._steps[-most:]) if most > 0 else []

    @property
    def last(self) -> HistoryStep | None:
        """The newest step; None where nothing was promoted yet."""
        steps = self._steps
        return steps[-1] if steps else None

    def append(self, step: HistoryStep) -> None:
        """Take a step: its line, synced, then the link.

        Raises:
            ArtifactError: HISTORY_UNWRITABLE; the step was not taken.
        """
        with self._lock:
            if self._file is None:
                self._steps = (*self._steps, step)[-MOST_STEPS:]
                return
            try:
                lines = self._file.append(b"".join(map(line_of, (*self._unwritten, step))))
            except OSError as error:
                raise ArtifactError(
                    "HISTORY_UNWRITABLE",
                    f"{self._file.path} cannot be written ({error.strerror or error}), and what is put into service "
                    "would not outlive a restart: nothing was changed",
                ) from None
            self._unwritten = ()
            steps, self.skipped = steps_of_lines(lines)
            self._steps = steps[-MOST_STEPS:]
            self.trouble = ""
            self.mend_link()

    def remember(self, step: HistoryStep, trouble: str) -> None:
        """Keep a step in memory, where the file cannot be written and it is taken all the same.

        It is written with the next one that can be.
        """
        with self._lock:
            self.trouble = trouble
            self._unwritten = (*self._unwritten, step)
            self._steps = (*self._steps, step)[-MOST_STEPS:]

    def mend_link(self) -> bool:
        """Let ``serving`` lead to what the file says; false where it does not, or cannot, lead there.

        Links lead to directories below the registry only: there is none while a bundled ranker is in service.
        """
        if self._registry is None or self.last is None:
            return False
        link, path = self._registry / SERVING, self.last.path
        inside = not (path.startswith("bundled:") or Path(path).is_absolute())
        try:
            if inside:
                if not (link.is_symlink() and str(link.readlink()) == path):
                    point(link, path)
            elif link.is_symlink():
                link.unlink()
        except OSError:  # the file is what counts
            return False
        return inside

    # -- what to go back to ------------------------------------------------------------------------------------------

    def stack(self) -> list[Place]:
        """Who was in service before whom, the newest last: what a rollback took out of service is not in it."""
        return stack_of(self._steps)

    def below(self, ranker_version: str) -> Place | None:
        """What was in service before ``ranker_version`` came; None where nothing was.

        For one that the history does not know to be in service, as of another replica, what it says is in service.
        """
        stack = self.stack()
        for place in range(len(stack) - 1, -1, -1):
            if stack[place].ranker_version == ranker_version:
                return stack[place - 1] if place else None
        return stack[-1] if stack else None

    def place_of(self, ranker_version: str) -> Place | None:
        """Where a ranker of the history lay when it was last in service; None where it never was."""
        for step in reversed(self._steps):
            if step.ranker_version == ranker_version:
                return Place(ranker_version, step.path)
            if step.before == ranker_version:
                return Place(ranker_version, step.before_path)
        return None


def stack_of(steps: Iterable[HistoryStep]) -> list[Place]:
    """What steps leave: a promotion goes on top, a rollback takes away what is above its ranker."""
    stack: list[Place] = []
    for step in steps:
        if stack and stack[-1].ranker_version == step.ranker_version:
            continue  # another replica follows
        if step.before and not (stack and stack[-1].ranker_version == step.before):
            stack.append(Place(step.before, step.before_path))
        own = Place(step.ranker_version, step.path)
        places = [i for i, p in enumerate(stack) if p.ranker_version == step.ranker_version]
        if step.kind is StepKind.ROLLED_BACK and places:
            del stack[places[-1] + 1 :]
        else:
            stack.append(own)
    return stack[-MOST_STEPS:]


def new_step(kind: StepKind, now: Place, before: Place | None, **further: Any) -> HistoryStep:
    """A step of this moment and this machine."""
    step = HistoryStep(time.time(), kind, now.ranker_version, now.path, host=socket.gethostname(), **further)
    return step if before is None else replace(step, before=before.ranker_version, before_path=before.path)


def point(link: Path, target: str) -> None:
    """Make a symbolic link, or let it lead elsewhere, by one rename.

    Raises:
        OSError: it cannot be made; the one before is still there.
    """
    beside = link.with_name(f".{link.name}.{os.getpid()}.{threading.get_ident()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    try:
        beside.replace(link)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
