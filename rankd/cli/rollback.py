"""``rankd rollback``: the ranker before is back. Loads little: whoever calls it is in a hurry."""

from __future__ import annotations

import argparse
import json

from rankd_client import AdminClient

from rankd.cli.connection import DONE, add_admin_flags, administer
from rankd.text import printable


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Which daemon."""
    add_admin_flags(verb)


def run(arguments: argparse.Namespace) -> int:
    """Put the ranker that was in service before back.

    Returns:
        0 done, 2 there is none, 1 no daemon.
    """
    return administer(arguments, _roll_back)


def _roll_back(client: AdminClient, arguments: argparse.Namespace) -> int:
    before = client.rankers().rankers[0].ranker_version
    now = client.roll_back().ranker_version
    if arguments.json:
        print(json.dumps({"in_service": now, "previous": before}))
    else:
        print(printable(f"{now} is in service again, {before} is not. `rankd rollback` takes this back."))
    return DONE
