"""``rankd rollback``: the ranker before is back. Loads little: whoever calls it is in a hurry."""

from __future__ import annotations

import argparse
import json

from rankd_client import AdminClient

from rankd.cli.connection import DONE, add_admin_flags, administer
from rankd.cli.streams import complain
from rankd.text import printable


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Which daemon, and how far back."""
    verb.description = (
        "Put the ranker that was in service before back, by the registry's history. Done twice it goes further back: "
        "what it took out of service comes back with --to, or by a promotion."
    )
    verb.add_argument(
        "--to",
        metavar="VERSION",
        default="",
        help="put this one into service: name@version, in service before, loaded, or in the registry",
    )
    add_admin_flags(verb)


def run(arguments: argparse.Namespace) -> int:
    """Put the ranker that was in service before back.

    Returns:
        0 done, 2 there is none, 1 no daemon.
    """
    return administer(arguments, _roll_back)


def _roll_back(client: AdminClient, arguments: argparse.Namespace) -> int:
    before = client.rankers().rankers[0].ranker_version
    now = client.roll_back(arguments.to).ranker_version
    after = client.rankers()
    if arguments.json:
        print(json.dumps({"in_service": now, "previous": before, "next": after.rollback_to or None}))
    else:
        further = f" A further rollback leads to {after.rollback_to}." if after.rollback_to else ""
        print(
            printable(f"{now} is in service, {before} is not. `rankd rollback --to {before}` takes this back.{further}")
        )
    if after.history_trouble:
        complain(f"{now} serves until the daemon restarts, no longer: {after.history_trouble}")
    return DONE
