"""A step of a registry's history, and the line of JSON that it is in the file."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

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


def steps_of_lines(lines: Sequence[bytes]) -> tuple[tuple[HistoryStep, ...], int]:
    """The steps of lines, and how many lines hold none."""
    steps = [step_of(line) for line in lines if line.strip()]
    good = tuple(s for s in steps if s is not None)
    return good, len(steps) - len(good)
