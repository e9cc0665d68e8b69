"""What the verbs that administer a daemon share: the connection, and what became of it as an exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rankd_client import AdminClient, RankdRefusedError, RankdUnavailableError

from rankd.cli.connection import connect
from rankd.cli.terminal import complain

DONE, UNREACHABLE, BAD_INPUT, REFUSED = 0, 1, 2, 3


def administer(arguments: argparse.Namespace, verb: Callable[[AdminClient, argparse.Namespace], int]) -> int:
    """Run a verb; 1 where the daemon does not answer, 2 where it will not do what was asked."""
    try:
        with connect(AdminClient, arguments.admin, arguments) as client:
            return verb(client, arguments)
    except RankdUnavailableError as error:
        complain(
            f"{arguments.admin} does not answer ({error}). Is the daemon running, and its admin listener on? "
            "Name it with --admin."
        )
        return UNREACHABLE
    except RankdRefusedError as error:
        complain(str(error))
        return BAD_INPUT
