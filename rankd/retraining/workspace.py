"""What is kept between runs: a lock, how far the log is used, the run under way, and a record of each run.

Files are written whole or not at all, so that a kill at any moment leaves the one before or the new one. None holds a
prompt or a request id.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from rankd.retraining.outcome import RunEndedError, RunOutcome

_T = TypeVar("_T")
_LOCK, _STATE, _PLAN, _RUNS = "lock", "state.json", "run.json", "runs"


@dataclass(frozen=True, slots=True)
class State:
    """How far the log is used."""

    until: float
    """Latest end of a completion that a finished run has judged by, seconds since the epoch."""
    run: str
    """That run."""


@dataclass(slots=True)
class Plan:
    """The run under way: what it needs to be gone on with after a kill."""

    run: str
    begun: float
    """Seconds since the epoch."""
    training: str
    """``RetrainOptions.training``."""
    since: float | None
    """Completions that ended after it are new; None: all are."""
    cutoff: float
    """Completions that ended at or after it are kept back."""
    until: float
    """The latest completion; what ended after it is the next run's."""
    attempts: int = 1
    trained: dict[str, Any] | None = None
    """``TrainingResult``, where the ranker is there."""
    data: dict[str, Any] | None = None
    judged: dict[str, Any] | None = None
    """``HeldBackJudgement``, where the rows kept back are judged by and it goes on."""
    installed: str = ""
    """The ranker's directory, relative to the registry."""
    in_service: bool = False
    """Whether a replica was seen to serve it."""
    ended: str = ""
    """The outcome, once it is known: what is left is to tidy up."""


class Workspace:
    """The directory of all that."""

    def __init__(self, path: Path) -> None:
        """Name it; it is made when it is first written to."""
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, which ends with the process, however that ends.

        Raises:
            RunEndedError: LOCKED, naming who holds it.
            OSError: the directory cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunEndedError(RunOutcome.LOCKED, f"another run is under way: {self.holder()}") from None
            with suppress(OSError):  # a full disk: it is locked all the same
                os.ftruncate(descriptor, 0)
                own = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
                os.pwrite(descriptor, json.dumps(own).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> str:
        """Who holds the lock, or held it last, in words."""
        found = _read(self.path / _LOCK)
        if not isinstance(found, dict) or not isinstance(found.get("since"), int | float):
            return f"who, {self.path / _LOCK} does not say"
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found["since"]))
        return f"process {found.get('pid')} on {found.get('host')}, since {since} ({self.path / _LOCK})"

    def state(self) -> State | None:
        """How far the log is used; None before the first run has ended."""
        return _as(State, _read(self.path / _STATE))

    def write_state(self, state: State) -> None:
        """Keep it."""
        write_json(self.path / _STATE, asdict(state))

    def plan(self) -> Plan | None:
        """The run that did not end; None where there is none."""
        return _as(Plan, _read(self.path / _PLAN))

    def write_plan(self, plan: Plan) -> None:
        """Keep it."""
        write_json(self.path / _PLAN, asdict(plan))

    def drop_plan(self) -> None:
        """There is no run to go on with."""
        (self.path / _PLAN).unlink(missing_ok=True)

    def has_record(self, run: str) -> bool:
        """Whether there was a run of this name."""
        return (self.path / _RUNS / f"{run}.json").exists()

    def write_record(self, run: str, record: dict[str, Any], keep: int) -> Path:
        """Keep a run's record; the oldest beyond ``keep`` go."""
        directory = self.path / _RUNS
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{run}.json"
        write_json(path, record)
        for old in sorted(p for p in directory.glob("*.json") if p != path)[: -(keep - 1) or None]:
            old.unlink(missing_ok=True)
        return path


def write_json(path: Path, value: Any) -> None:
    """Write a file by one rename, synced.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def remove(directory: Path) -> None:
    """Remove a directory and all in it; one that is gone already is no error."""
    shutil.rmtree(directory, ignore_errors=True)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _as(kind: type[_T], found: Any) -> _T | None:
    """A dataclass of what was read; None where it is not that, as of another rankd."""
    if not isinstance(found, dict) or set(found) != {f.name for f in fields(kind)}:  # type: ignore[arg-type]
        return None
    return kind(**found)
