"""``rankd token``: secrets for auth.file and signing.file. Nothing is kept: who loses a token makes another one."""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from rankd.auth import digest_of
from rankd.cli.values import number
from rankd.errors import ConfigError

_ROLES = ("rank", "report", "quality", "admin")


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to make."""
    verb.description = "Make secrets for auth.file and signing.file."
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
    new.add_argument(
        "--days",
        type=number("a number of days above 0 and at most 36500", 0, 36500, above=True),
        metavar="N",
        help="days until it ends; default: it has no end",
    )
    new.add_argument("--out", type=Path, metavar="FILE", help="write the token to this new file, and print the entry")
    key = kinds.add_parser("key", help="a key that predictions are signed with", description="Make a signing key.")
    key.add_argument(
        "--id",
        type=_name,
        default=f"k{time.strftime('%Y%m%d', time.gmtime())}",
        help="default: k and today as YYYYMMDD",
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


def run(arguments: argparse.Namespace) -> int:
    """Make a token, or a key."""
    return new_key(arguments) if arguments.kind == "key" else new_token(arguments)


def new_token(arguments: argparse.Namespace) -> int:
    """Make a token: print it once, with the entry that lets the daemon know it."""
    token = secrets.token_urlsafe(32)
    fields = {"name": arguments.name, "sha256": digest_of(token).hex()}
    if arguments.tenant:
        fields["tenant"] = arguments.tenant
    lines = ["[[token]]", *(f"{key} = {_quoted(value)}" for key, value in fields.items())]
    lines.append(f"roles = [{', '.join(_quoted(role) for role in arguments.roles)}]")
    if arguments.days is not None:
        end = datetime.fromtimestamp(time.time() + 86400 * arguments.days, UTC)
        lines.append(f"expires = {end:%Y-%m-%dT%H:%M:%SZ}")
    entry = "\n".join(lines)
    if arguments.out is not None:
        _write(arguments.out, token)
        print(entry)
    else:
        print(f"# The token, for its holder. It is shown this once:\n{token}\n\n# For the daemon's auth.file:\n{entry}")
    return 0


def new_key(arguments: argparse.Namespace) -> int:
    """Make a signing key: print its entry."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    print(f"[[key]]\nid = {_quoted(arguments.id)}\nsecret = {_quoted(secret)}")
    return 0


def _quoted(text: str) -> str:
    """A TOML string; JSON's are such, but for the one control character that it leaves as it is."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _write(path: Path, token: str) -> None:
    """Write a token to a file of its own, which only its owner can read.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(token + "\n")
    except FileExistsError:
        raise ConfigError(f"--out: {path} is there already: name a new file, or take it away") from None
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error.strerror}") from None
