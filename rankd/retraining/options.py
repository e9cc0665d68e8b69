"""What a run may choose, and what it is handed to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from rankd_client import AdminClient

from rankd.registry.artifact import Artifact
from rankd.training.data.dataset import Row

ShadowMode = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class ShadowOptions:
    """Scoring in the shadow: whether, until when."""

    mode: ShadowMode = "auto"
    """``auto``: where the completions that there are cannot decide."""
    seconds: float = 21_600.0
    completions: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainOptions:
    """What a run may choose."""

    data: tuple[Path, ...]
    registry: Path
    workspace: Path
    """Lock, state and records; it must last, and be shared by all who might run at once."""
    scratch: Path
    """Training under way."""
    rows: int = 200_000
    seed: int = 0
    model: str | None = None
    caps: tuple[tuple[str, int], ...] = ()
    only_new: bool = False
    """Train on completions since the last run only."""
    hold_back: float = 0.2
    """Share of the new completions, the latest, that is kept back to judge by."""
    min_new: int = 400
    """New completions without which nothing is trained."""
    min_completions: int = 200
    """Completions without which nothing is judged."""
    max_held_back: int = 4096
    min_decided_share: float = 0.8
    margin: float = 0.0
    min_tau: float = -1.0
    evaluate_data: tuple[Path, ...] = ()
    """Rows that ``min_tau`` is asked of; empty: those kept back."""
    against: Path | None = None
    """The ranker to beat; None: the one in service."""
    threads: int = 1
    """Of scoring."""
    promote: bool = True
    force: bool = False
    admin: tuple[str, ...] = ()
    admin_name: str = ""
    """NAME:PORT, each of whose addresses is a replica."""
    shadow: ShadowOptions = field(default_factory=ShadowOptions)
    keep_runs: int = 50
    keep_refused: bool = False
    resume_hours: float = 48.0
    """Age at which an unfinished run is given up, and a new one begun."""
    training: str = ""
    """Digest of how the ranker is trained: an unfinished run is gone on with only by the same."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass came to."""

    loss: float
    validation_tau: float | None


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One ranker to be trained; a directory with a checkpoint is gone on with."""

    rows: Sequence[Row]
    out: Path
    version: str


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What training came to."""

    base: str
    loss: str
    rows: int
    """Those to validate by as well."""
    threads: int
    epochs: tuple[Epoch, ...]


class Tools(Protocol):
    """What a run is handed."""

    def say(self, line: str) -> None:
        """Tell people where the run is."""

    def progress(self, what: str) -> Callable[[int, int], None]:
        """A bar; called with how much is done, of how much."""

    def train(self, task: TrainingTask) -> TrainingResult:
        """Train and write a ranker.

        Raises:
            ConfigError: the rows or flags are at fault, or ``task.out`` cannot be written.
        """

    def install(self, artifact: Artifact, registry: str) -> str:
        """Put a ranker into a registry; gives its directory there, relative."""

    def connect(self, target: str) -> AdminClient:
        """A client of a daemon's admin listener."""
