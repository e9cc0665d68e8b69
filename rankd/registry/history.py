"""What was in service and why, kept in the registry: ``history.jsonl``, a line a step, and the link ``serving``.

The file is the truth. A step is taken once its line is written whole, newline and all, and synced; a line that is torn
by a crash was never taken. The link is written after the line and says the same to people and scripts; where both
differ the file is believed, and the link is put right at the next start. Replicas may share the directory: lines are
appended under a lock, and what the last one says is what a replica that starts serves.

Kept are versions, directories, times and figures, and who asked by the name that ``auth.file`` gives them. No prompt.
"""

from __future__ import annotations

import asyncio
import enum
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError
from rankd.registry.history_file import HistoryFile

HISTORY = "history.jsonl"
SERVING = "serving"
"""The link to what is in service."""
MOST_STEPS = 1000
"""Of the newest steps, those that are kept in memory."""
_LONGEST = 1024
"""Characters of a name or path in the file; a longer one is no step of ours."""


class StepKind(enum.Enum):
    """What happened."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class RankerChoice(enum.Enum):
    """Why a daemon began with its ranker."""

    SETTING = "setting"
    """``--ranker``, ``RANKD_RANKER`` or the file of settings names it."""
    PROMOTED = "promoted"
    """It was promoted last in the registry."""
    FALLEN_BACK = "fallen_back"
    """The one promoted last cannot be loaded."""
    BUNDLED = "bundled"
    """Nothing was set, and nothing promoted."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a daemon began with, and why."""

    ranker_version: str
    choice: RankerChoice
    unusable: tuple[tuple[str, str], ...] = ()
    """Promoted rankers that cannot be loaded: version (or ``serving``, of the link), and why in a word."""


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """What a promotion rested on. Differences are of Kendall's tau, candidate less the one in service."""

    verdict: str
    """better, not_better, too_few_completions or too_few_decided_pairs; a promotion by force has any of them."""
    kind: str
    """completion_log or shadow_scores; empty where there was none."""
    completions: int
    tau_difference: float | None = None
    low: float | None = None
    """Of its 95 % interval."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A ranker came into service in another one's place."""

    at: float
    """Seconds since the epoch, by the daemon's clock."""
    kind: StepKind
    ranker_version: str
    """Now in service, as ``name@version``."""
    path: str
    """Its directory: relative to the registry, ``bundled:NAME`` for one that comes with rankd, or absolute."""
    before: str = ""
    """In service until then. Empty: nothing was."""
    before_path: str = ""
    by: str = ""
    """The credential's name in ``auth.file``; empty where callers have none."""
    host: str = ""
    """Of the daemon."""
    forced: bool = False
    """Put into service whatever the verdict was."""
    evidence: StepEvidence | None = None
    """None where nothing was judged."""


@dataclass(frozen=True, slots=True)
class Place:
    """A ranker that was in service, and where it lies (``HistoryStep.path``)."""

    ranker_version: str
    path: str


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
                steps, self.skipped = _steps_of(lines)
                self._steps = (*steps, *self._unwritten)
                if not self._unwritten:
                    self.trouble = ""

    async def look(self) -> None:
        """Refresh in a thread; where the file cannot be read, ``trouble`` says so."""
        if self._file is not None:
            with suppress(ArtifactError):
                await asyncio.to_thread(self.refresh)

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
            self._steps, self.skipped = _steps_of(lines)
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


# -- lines ---------------------------------------------------------------------------------------------------------


def line_of(step: HistoryStep) -> bytes:
    """A step as a line of JSON, newline and all."""
    out = {k: v for k, v in asdict(step).items() if v not in (None, "", False)}
    return json.dumps(out | {"kind": step.kind.value}, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def step_of(line: bytes) -> HistoryStep | None:
    """A line's step; None where it holds none. Fields that are not known, of a later rankd, are left out."""
    try:
        known = _known(HistoryStep, json.loads(line))
        evidence = known.pop("evidence", None)
        if evidence is not None:
            evidence = StepEvidence(**_known(StepEvidence, evidence))
            _check(evidence)
        step = HistoryStep(**known | {"kind": StepKind(known.get("kind")), "evidence": evidence})
        _check(step)
    except (ValueError, TypeError, RecursionError):
        return None
    return step


def _known(kind: type, read: Any) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise TypeError
    names = {f.name for f in fields(kind)}
    return {k: v for k, v in read.items() if k in names}


def _check(read: HistoryStep | StepEvidence) -> None:
    """Raise where a value is none of its field's."""
    for name, value in asdict(read).items():
        if name in ("kind", "evidence") and isinstance(read, HistoryStep):
            continue
        if name in ("at", "tau_difference", "low", "high", "completions"):
            good = value is None or (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            )
        elif name == "forced":
            good = isinstance(value, bool)
        else:
            good = isinstance(value, str) and len(value) <= _LONGEST
        if not good:
            raise ValueError(name)
    if isinstance(read, HistoryStep) and not (read.ranker_version and read.path and read.at is not None):
        raise ValueError


def _steps_of(lines: Sequence[bytes]) -> tuple[tuple[HistoryStep, ...], int]:
    steps = [step_of(line) for line in lines if line.strip()]
    good = tuple(s for s in steps if s is not None)
    return good[-MOST_STEPS:], len(steps) - len(good)
