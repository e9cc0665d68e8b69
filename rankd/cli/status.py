"""``rankd status``: how a daemon does, once or live."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
from typing import Any

from rankd_client import QualityReport, RankClient, RankdUnavailableError
from rich.live import Live

from rankd.cli.connection import add_target_flags, connect
from rankd.cli.status_view import view
from rankd.cli.streams import complain
from rankd.cli.terminal import PlainConsole, output
from rankd.cli.values import seconds

_PATIENCE = 20.0
"""Seconds that a busy daemon may take."""
_JSON_KEYS = {"adaptive_rules": "dial"}
"""Keys of --json that are not called as the client's fields are: scripts read them, and the wire has this name too."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Which daemon, and whether to follow it."""
    verb.description = "Show how a daemon does."
    add_target_flags(verb)
    verb.add_argument("--watch", action="store_true", help="follow it live, until interrupted")
    verb.add_argument(
        "--interval", type=seconds, default=1.0, metavar="SECONDS", help="between two updates of --watch; default: 1"
    )
    verb.add_argument(
        "--json", action="store_true", help="print JSON and nothing else (a line per update with --watch)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the state; 1 where the daemon does not answer."""
    with connect(RankClient, arguments.target, arguments) as client:
        try:
            if arguments.watch:
                _watch(client, arguments)
            else:
                report = client.quality(timeout=_PATIENCE)
                if arguments.json:
                    print(json.dumps(as_json(report)))
                else:
                    output(100).print(view(report))
        except RankdUnavailableError as error:
            complain(
                f"{arguments.target} does not answer ({error}). Is the daemon running? "
                "Start it with `rankd serve`, or name another with --target."
            )
            return 1
    return 0


def _watch(client: RankClient, arguments: argparse.Namespace) -> None:
    if arguments.json:
        for report in client.watch_quality(arguments.interval):
            print(json.dumps(as_json(report)), flush=True)
        return
    with Live(console=PlainConsole(), auto_refresh=False) as live:
        before: QualityReport | None = None
        for report in client.watch_quality(arguments.interval):
            live.update(view(report, before, arguments.interval), refresh=True)
            before = report


def as_json(report: QualityReport) -> dict[str, Any]:
    """The report as plain JSON values."""
    out: dict[str, Any] = _plain(dataclasses.asdict(report))
    out["policies"] = [{_JSON_KEYS.get(k, k): v for k, v in policy.items()} for policy in out["policies"]]
    return out


def _plain(value: Any) -> Any:
    """What JSON has, for keys too: what is known of objectives goes by them."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(kept) for key, kept in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else value
