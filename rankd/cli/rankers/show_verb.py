"""``rankd rankers show``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from rankd.cli.connection import DONE
from rankd.cli.rankers.known import directory_named, moment, step_json, step_line, tau_of, trained_on
from rankd.cli.terminal import output
from rankd.errors import ArtifactError
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.history import HistoryStep, ServiceHistory
from rankd.registry.shelf import Shelf, read_manifest


def run(arguments: argparse.Namespace) -> int:
    """Print a ranker's manifest and history.

    Raises:
        NotFoundError: there is no such ranker.
        ArtifactError: BAD_MANIFEST.
    """
    registry: Path | None = arguments.registry
    directory = directory_named(arguments.ranker, registry)
    manifest = read_manifest(directory)
    if manifest is None:
        raise ArtifactError("BAD_MANIFEST", f"{directory / MANIFEST} cannot be read, or has no name and version")
    version = f"{manifest['name']}@{manifest['version']}"
    steps: list[HistoryStep] = []
    names: list[str] = []
    if registry is not None:
        steps = [s for s in ServiceHistory(registry).recent() if version in (s.ranker_version, s.before)]
        links = Shelf(registry).aliases().items()
        names = [name for name, to in links if (registry / to).resolve() == directory.resolve()]
    made = (directory / MANIFEST).stat().st_mtime
    if arguments.json:
        print(
            json.dumps(
                {
                    "ranker_version": version,
                    "path": str(directory),
                    "made_at": made,
                    "aliases": names,
                    "manifest": manifest,
                    "history": [step_json(s) for s in steps],
                }
            )
        )
        return DONE
    _print(directory, manifest, made, names, steps)
    return DONE


def _print(directory: Path, manifest: dict[str, Any], made: float, names: list[str], steps: list[HistoryStep]) -> None:
    console = output(110)
    table = Table.grid(padding=(0, 2))
    table.add_row("ranker", f"{manifest['name']}@{manifest['version']}")
    table.add_row("directory", str(directory))
    if names:
        table.add_row("aliases", ", ".join(names))
    table.add_row("made", moment(made) + " UTC")
    table.add_row("trained on", trained_on(manifest) or "its manifest does not say")
    table.add_row("rows", _listed(manifest))
    tau = tau_of(manifest)
    table.add_row("tau", "never measured" if tau is None else f"{tau:.3f}, on prompts that it never saw")
    for measured in manifest.get("measurements", ()) if isinstance(manifest.get("measurements"), list) else ():
        table.add_row("", _measured(measured))
    for name in ("licence", "precision", "description"):
        if isinstance(manifest.get(name), str) and manifest[name]:
            table.add_row(name, manifest[name])
    console.print(table)
    if steps:
        console.print("\nhistory, the newest last:")
        for step in steps:
            console.print("  " + step_line(step), soft_wrap=True)


def _listed(manifest: dict[str, Any]) -> str:
    rows = manifest.get("trained_rows")
    if not isinstance(rows, dict) or not isinstance(rows.get("prompts"), int):
        return "its manifest does not list those that it was made of"
    return f"{rows['prompts']:,} prompts listed" + ("" if rows.get("complete") is True else ", not all")


def _measured(measured: Any) -> str:
    if not isinstance(measured, dict):
        return ""
    seen = ", which it was trained on" if measured.get("trained_on") is True else ""
    return f"{measured.get('kendall_tau')} on {measured.get('rows')} rows of {measured.get('dataset')}{seen}"
