"""How the ranker in service came there: a line of ``rankd status``, and what ``rankd promote`` does with it."""

from __future__ import annotations

import argparse
import json

from rankd_client import AdminClient, Rankers, ServiceStatus

from rankd.cli.connection import DONE
from rankd.errors import ConfigError
from rankd.text import printable


def standing(service: ServiceStatus) -> str:
    """What is worth saying of it; empty where it was promoted last, or nothing was.

    A replica may also be behind for seconds, while the replicas of a fleet are promoted one after the other.
    """
    if service.promoted == service.ranker_version:
        return ""
    if service.ranker_choice == "fallen_back" and service.unusable_rankers:
        return f"{', '.join(service.unusable_rankers)} was promoted and cannot be loaded any more (the log says why)"
    if not service.promoted:
        return ""
    if service.ranker_choice == "setting":
        return f"{service.promoted} was promoted last in the registry; the setting `ranker` goes before it"
    return f"{service.promoted} was promoted last in the registry, and is not in service here"


def in_service_already(client: AdminClient, rankers: Rankers, version: str, arguments: argparse.Namespace) -> int:
    """Refuse to promote it, unless it was set by hand and is to be what restarts serve: then the history says so.

    Raises:
        ConfigError: nothing is to be done, or --force is missing.
    """
    promoted = rankers.history[-1].ranker_version if rankers.history else ""
    if promoted in ("", version):
        raise ConfigError(f"{version} is in service already")
    if not arguments.force:
        raise ConfigError(
            f"{version} is in service already; the registry's history says {promoted}, and --force makes it say "
            f"{version}"
        )
    client.promote(version)
    if arguments.json:
        print(json.dumps({"promoted": True, "ranker_version": version, "in_service": version}))
    else:
        print(printable(f"{version} was in service already; the registry's history says so now"))
    return DONE
