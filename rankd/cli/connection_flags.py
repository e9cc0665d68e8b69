"""Flags that say how to reach a daemon. Loads nothing: every verb has them."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_connection_flags(verb: argparse.ArgumentParser) -> None:
    """TLS files, and the token."""
    verb.add_argument("--tls-ca", type=Path, metavar="FILE", help="speak TLS, and trust the roots in this PEM file")
    verb.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM certificate of the client, for mutual TLS")
    verb.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM key of the client, for mutual TLS")
    verb.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="show the token in this file; default: RANKD_TOKEN_FILE, or the token itself in RANKD_TOKEN",
    )
    verb.add_argument(
        "--plaintext-token",
        action="store_true",
        help="show it to another machine without TLS, as where a mesh speaks TLS (RANKD_PLAINTEXT_TOKEN=true)",
    )
