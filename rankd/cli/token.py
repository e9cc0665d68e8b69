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
from rankd.errors import ConfigError


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
