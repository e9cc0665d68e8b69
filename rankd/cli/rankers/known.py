"""What is known of rankers: from a registry on this machine, and from a daemon."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rankd_client import RankerStep

from rankd.errors import ConfigError, NotFoundError
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.bundled import ranker_path
from rankd.registry.history import HistoryStep, StepEvidence, StepKind
from rankd.registry.shelf import Shelf

_NAMES = 3


def directory_named(name: str, registry: Path | None) -> Path:
    """The directory of a ranker: in the registry by version or alias, else a path or a bundled one's name.

    Raises:
        NotFoundError: there is none; the message says where was looked.
    """
    if registry is not None:
        try:
            return Shelf(registry).named(name)
        except NotFoundError:
            if not (ranker_path(name) / MANIFEST).is_file():
                raise
    directory = ranker_path(name)
    if not (directory / MANIFEST).is_file():
        where = "" if registry is not None else "; for one in a registry give --registry DIR, or set RANKD_REGISTRY"
        raise NotFoundError(f"{name}: no such ranker, and no directory with a {MANIFEST}{where}")
    return directory


def registry_of(registry: Path | None) -> Path:
    """The registry, which must be given.

    Raises:
        ConfigError: it is not.
    """
    if registry is None:
        raise ConfigError("give --registry DIR, or set RANKD_REGISTRY")
    return registry


def told(step: RankerStep) -> HistoryStep | None:
    """A step that a daemon tells; None where it is of a later kind."""
    if step.kind not in {kind.value for kind in StepKind}:
        return None
    evidence = step.evidence
    tau = None if evidence is None else evidence.tau_difference
    return HistoryStep(
        step.at,
        StepKind(step.kind),
        step.ranker_version,
        step.path,
        step.before,
        by=step.caller,
        host=step.host,
        forced=step.forced,
        evidence=None
        if evidence is None
        else StepEvidence(
            evidence.verdict,
            evidence.evidence,
            evidence.completions,
            None if tau is None else tau.value,
            None if tau is None else tau.low,
            None if tau is None else tau.high,
        ),
    )


def step_json(step: HistoryStep) -> dict[str, Any]:
    """A step for scripts."""
    return asdict(step) | {"kind": step.kind.value}


def step_line(step: HistoryStep) -> str:
    """A step for people."""
    what = "promoted" if step.kind is StepKind.PROMOTED else "put back"
    parts = [f"{moment(step.at)}  {step.ranker_version} {what}"]
    if step.before:
        parts.append(f"in place of {step.before}")
    if step.by:
        parts.append(f"by {step.by}")
    if step.host:
        parts.append(f"on {step.host}")
    return " ".join(parts) + _why(step)


def _why(step: HistoryStep) -> str:
    e = step.evidence
    if step.kind is StepKind.ROLLED_BACK:
        return ""
    if e is None:
        return "; not judged"
    figures = f"; {e.verdict.replace('_', ' ')} on {e.completions:,} completions"
    if e.tau_difference is not None and e.low is not None and e.high is not None:
        figures += f", tau {e.tau_difference:+.3f} ({e.low:+.3f} to {e.high:+.3f})"
    return figures + (", promoted by force" if step.forced else "")


def moment(at: float) -> str:
    """A time for people, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return "?"


def trained_on(manifest: dict[str, Any]) -> str:
    """What a manifest says of the data, in a line: the first few names; empty where it says nothing."""
    data = manifest.get("data")
    names = []
    for source in data if isinstance(data, list) else ():
        if isinstance(source, dict) and isinstance(source.get("name"), str):
            rows = source.get("rows")
            names.append(source["name"] + (f" ({rows:,} rows)" if isinstance(rows, int) else ""))
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def tau_of(manifest: dict[str, Any]) -> float | None:
    """The manifest's measured tau, where it is one."""
    tau = manifest.get("measured_tau")
    return float(tau) if isinstance(tau, int | float) and not isinstance(tau, bool) and -1 <= tau <= 1 else None
