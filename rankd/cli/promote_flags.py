"""Flags of ``rankd promote`` and ``rankd rollback``."""

from __future__ import annotations

import argparse
import os

from rankd.cli.connection_flags import add_connection_flags
from rankd.registry.bundled import ranker_path

DEFAULT_ADMIN = "127.0.0.1:50052"


def add_admin_flags(verb: argparse.ArgumentParser) -> None:
    """How to reach the admin listener."""
    verb.add_argument(
        "--admin",
        metavar="HOST:PORT",
        default=os.environ.get("RANKD_ADMIN_TARGET", DEFAULT_ADMIN),
        help=f"the daemon's admin listener; default: RANKD_ADMIN_TARGET or {DEFAULT_ADMIN}",
    )
    add_connection_flags(verb)
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_promote_flags(verb: argparse.ArgumentParser) -> None:
    """What to promote, and on what condition."""
    verb.add_argument(
        "directory",
        metavar="DIR",
        type=ranker_path,
        help="the ranker: model.onnx, tokenizer.json, manifest.json; or a bundled one's name",
    )
    add_admin_flags(verb)
    verb.add_argument("--model", help="judge on the completions of this served model; default: all, each by itself")
    verb.add_argument(
        "--shadow",
        type=_seconds,
        metavar="SECONDS",
        help="first let it score in the shadow for so long, and judge it on that",
    )
    verb.add_argument(
        "--shadow-completions",
        type=_count,
        metavar="N",
        help="first let it score in the shadow until N completions are reported (within --shadow SECONDS, if given)",
    )
    verb.add_argument(
        "--evidence",
        choices=["log", "shadow"],
        help="judge on prompts of the completion log, or on shadow scores; default: shadow where it was asked for, "
        "else the log where it holds enough",
    )
    verb.add_argument(
        "--margin",
        type=_margin,
        metavar="TAU",
        help="the lower bound of the difference in tau must be above this; -0.01 accepts a ranker that is surely worse "
        "by less than .01, as for a faster one; default: the daemon's promotion.margin (0)",
    )
    verb.add_argument(
        "--min-completions", type=_count, metavar="N", help="judge on no fewer; default: the daemon's (200)"
    )
    verb.add_argument("--force", action="store_true", help="promote it whatever the verdict is")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 2.0
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a difference in tau, -1 to 1")
    return value
