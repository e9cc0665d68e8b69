"""One command with verbs: a module each, which holds its flags (``add_flags``) and what it does (``run``).

This module loads the standard library only, and of the verbs the one that is called: `rankd --help` and the shell's
completion wait for nothing (docs/adr/0013-command-line.md).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Collection, Sequence

from rankd.cli.streams import abandon_output, complain, mend_streams
from rankd.errors import RankdError

VERBS = {
    "serve": "run the daemon",
    "rank": "order a file of prompts",
    "status": "show ranker, guard, quality and traffic",
    "bench": "measure a daemon against its floors",
    "promote": "put a ranker into service if it is better",
    "bake": "write what a daemon learned into a ranker of its own",
    "rollback": "put the ranker that was in service before back",
    "rankers": "list, show, compare and name rankers",
    "pilot": "compare two policies on live traffic",
    "train": "train a ranker on prompts and output lengths",
    "retrain": "train on the log since the last time, and promote what is better",
    "evaluate": "judge a ranker on prompts and output lengths",
    "replay": "what ranking would have made of your traffic",
    "proxy": "give requests to any OpenAI-compatible engine their priority",
    "token": "make tokens and signing keys",
}
"""What each verb does, in a line; the verb's module is ``rankd.cli.VERB``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0 well, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    mend_streams()
    # gRPC's core writes to stderr past every logger, as of a connection that a peer ends; read when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has had enough, as `| head` has.
        abandon_output()
        return 0


def _run(argv: Sequence[str]) -> int:
    if not argv:
        # Wrong usage all the same: a script that lost its verb is not to go on as if all were well.
        build_parser(()).print_help(sys.stderr)
        return 2
    try:
        # Builds the parser in here too: a verb takes a while to load, and may be interrupted.
        arguments = build_parser(set(argv)).parse_args(argv)
        return int(arguments.run(arguments))
    except RankdError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser(loaded: Collection[str] = VERBS.keys()) -> argparse.ArgumentParser:
    """All verbs, and the flags of those that are ``loaded``."""
    parser = argparse.ArgumentParser(
        prog="rankd", description="A rank daemon for LLM serving: prompts in, a serving order out."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name in loaded:
            module = importlib.import_module(f"rankd.cli.{name}")
            module.add_flags(verb)
            verb.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Reads the version when it is asked for: that takes as long as all the rest of ``--help``."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from rankd.version import VERSION

        print(f"rankd {VERSION}")
        parser.exit()
