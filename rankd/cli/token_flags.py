"""Flags of ``rankd token``. Loads nothing: every verb's flags are read."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

_ROLES = ("rank", "report", "quality", "admin")


def add_token_flags(verb: argparse.ArgumentParser) -> None:
    """What to make."""
    kinds = verb.add_subparsers(required=True, metavar="KIND", dest="kind")
    new = kinds.add_parser(
        "new",
        help="a token of a caller",
        description="Make a token of 256 random bits. It is printed once, or written to --out; the entry for the "
        "daemon's auth.file holds its SHA-256 only.",
    )
    new.add_argument(
        "--name", required=True, type=_name, help="of whom or what shows it, as metrics and quotas tell it"
    )
    new.add_argument("--tenant", default="", type=_tenant, help="whose requests it is for; default: any tenant's")
    new.add_argument(
        "--roles",
        type=_roles,
        default=_ROLES[:3],
        metavar="ROLE,...",
        help=f"of {', '.join(_ROLES)}; default: {','.join(_ROLES[:3])}",
    )
    new.add_argument("--days", type=_days, metavar="N", help="days until it ends; default: it has no end")
    new.add_argument("--out", type=Path, metavar="FILE", help="write the token to this new file, and print the entry")
    key = kinds.add_parser("key", help="a key that predictions are signed with", description="Make a signing key.")
    key.add_argument(
        "--id", type=_name, default=f"k{time.strftime('%Y%m%d', time.gmtime())}", help="default: %(default)s"
    )


def _name(text: str) -> str:
    if not 0 < len(text) <= 256:
        raise argparse.ArgumentTypeError("must have 1 to 256 characters")
    return text


def _tenant(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > 256:
        raise argparse.ArgumentTypeError("must have at most 256 bytes")
    return text


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if unknown := [role for role in roles if role not in _ROLES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(_ROLES)}")
    return roles


def _days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 36500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days above 0 and at most 36500")
    return value
