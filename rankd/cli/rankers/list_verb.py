"""``rankd rankers list``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rankd_client import AdminClient, RankdRefusedError, RankdUnavailableError, Rankers
from rich.table import Table

from rankd.cli.connection import DONE, UNREACHABLE, connect
from rankd.cli.rankers.known import moment, step_json, step_line, tau_of, told, trained_on
from rankd.cli.streams import complain
from rankd.cli.terminal import output
from rankd.registry.history import HistoryStep, ServiceHistory
from rankd.registry.shelf import Shelf

_SECONDS = 5.0
_STEPS = 10
"""Of the history, for people; the JSON has them all."""


@dataclass(slots=True)
class ListedRanker:
    """A line of the list."""

    ranker_version: str
    role: str = ""
    """in_service, previous (a rollback returns to it), shadow, loaded, or empty: it lies in the registry."""
    path: str = ""
    made_at: float | None = None
    trained_on: str = ""
    measured_tau: float | None = None
    aliases: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RankerList:
    """All that is known."""

    rankers: list[ListedRanker]
    history: list[HistoryStep]
    registry: str
    daemon: str
    """Its address; empty where none answers, and roles are those of the history."""
    trouble: str
    promoted: str
    """By the history."""


def run(arguments: argparse.Namespace) -> int:
    """Print them; 1 where neither a daemon nor a registry can be asked."""
    daemon, why = _ask(arguments)
    registry: Path | None = arguments.registry
    if registry is None and daemon is not None and daemon.registry and Path(daemon.registry).is_dir():
        registry = Path(daemon.registry)
    if registry is None and daemon is None:
        complain(
            f"{arguments.admin} does not answer ({why}), and no registry is given: name the daemon with --admin, or "
            "the registry with --registry DIR"
        )
        return UNREACHABLE
    found = gathered(registry, daemon, arguments.admin)
    if arguments.json:
        print(json.dumps(as_plain(found)))
    else:
        _print(found, arguments.admin)
    return DONE


def _ask(arguments: argparse.Namespace) -> tuple[Rankers | None, str]:
    """What the daemon says; None and why where it says nothing."""
    try:
        with connect(AdminClient, arguments.admin, arguments, timeout=_SECONDS) as client:
            return client.rankers(), ""
    except (RankdUnavailableError, RankdRefusedError) as error:
        return None, str(error)


def gathered(registry: Path | None, daemon: Rankers | None, address: str) -> RankerList:
    """Registry and daemon together.

    Raises:
        ConfigError: the registry cannot be read.
    """
    steps, trouble, stack = [], "", []
    lines: dict[str, ListedRanker] = {}
    if registry is not None:
        history, shelf = ServiceHistory(registry), Shelf(registry)
        steps, trouble, stack = history.recent(), history.trouble, [p.ranker_version for p in history.stack()]
        aliases = shelf.aliases()
        for ranker in shelf.rankers():
            named = [a for a, to in aliases.items() if (registry / to).resolve() == (registry / ranker.path).resolve()]
            lines[ranker.ranker_version] = ListedRanker(
                ranker.ranker_version,
                "",
                ranker.path,
                ranker.made_at,
                trained_on(ranker.manifest),
                tau_of(ranker.manifest),
                named,
            )
    if daemon is not None:
        if registry is None:
            steps = [s for s in map(told, daemon.history) if s is not None]
        trouble = trouble or daemon.history_trouble
        _add_loaded(lines, daemon)
    else:
        for role, version in (("in_service", stack[-1:]), ("previous", stack[-2:-1])):
            if version and version[0] in lines:
                lines[version[0]].role = role
    order = ["in_service", "previous", "shadow", "loaded", ""]
    rankers = sorted(lines.values(), key=lambda r: (order.index(r.role), -(r.made_at or 0.0), r.ranker_version))
    where = str(registry) if registry is not None else daemon.registry if daemon is not None else ""
    promoted = steps[-1].ranker_version if steps else ""
    return RankerList(rankers, steps, where, address if daemon is not None else "", trouble, promoted)


def _add_loaded(lines: dict[str, ListedRanker], daemon: Rankers) -> None:
    """What a daemon has loaded, and the roles there."""
    for ranker in daemon.rankers:
        line = lines.setdefault(ranker.ranker_version, ListedRanker(ranker.ranker_version, path=ranker.path))
        if line.measured_tau is None:
            line.measured_tau = ranker.measured_tau
        line.role = "in_service" if ranker.in_service else "shadow" if ranker.shadow is not None else "loaded"
    to = lines.get(daemon.rollback_to)
    if to is not None and to.role in ("", "loaded"):
        to.role = "previous"


def _print(found: RankerList, address: str) -> None:
    console = output(120)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("ranker", "role", "made", "trained on", "tau", "aliases", "directory"):
        table.add_column(name, overflow="fold", justify="right" if name == "tau" else "left")
    for r in found.rankers:
        made = "" if r.made_at is None else moment(r.made_at)
        tau = "" if r.measured_tau is None else f"{r.measured_tau:.3f}"
        role = r.role.replace("_", " ")
        table.add_row(r.ranker_version, role, made, r.trained_on, tau, ", ".join(r.aliases), r.path)
    console.print(table if found.rankers else f"no ranker is in {found.registry}")
    if found.registry:
        console.print(f"\nregistry: {found.registry}")
    if not found.daemon:
        console.print(f"{address} does not answer: roles are those of the registry's history")
    serves = next((r.ranker_version for r in found.rankers if r.role == "in_service"), "")
    if found.daemon and found.promoted and serves != found.promoted:
        console.print(not_followed(serves, found.promoted))
    if found.trouble:
        console.print(f"the history does not say what is in service: {found.trouble}")
    if found.history:
        console.print(f"\nhistory, the newest last ({len(found.history):,} steps; --json has them all):")
        for step in found.history[-_STEPS:]:
            console.print("  " + step_line(step), soft_wrap=True)


def not_followed(serves: str, promoted: str) -> str:
    """That a daemon does not serve what was promoted last."""
    return f"{serves} is in service, and the registry's history says {promoted}: see docs/guides/promote.md"


def as_plain(found: RankerList) -> dict[str, Any]:
    """The list for scripts."""
    return asdict(found) | {"history": [step_json(s) for s in found.history]}
