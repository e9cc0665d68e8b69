"""Reaching a daemon as flags say."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rankd_client import TlsConfig

from rankd.errors import ConfigError

C = TypeVar("C")


def connect(kind: Callable[..., C], target: str, arguments: argparse.Namespace, **options: Any) -> C:
    """A client of the daemon at ``target``, as flags and variables say; the flag goes before the variables.

    Raises:
        ConfigError: a file cannot be read or is missing, or the token cannot be shown there.
    """
    token = os.environ.get("RANKD_TOKEN", "").strip() or None
    token_file: Any = os.environ.get("RANKD_TOKEN_FILE", "").strip() or None
    if arguments.token_file is not None:
        token, token_file = None, arguments.token_file
    plaintext = arguments.plaintext_token or os.environ.get("RANKD_PLAINTEXT_TOKEN") == "true"
    tls = tls_of(arguments)
    try:
        return kind(target, tls=tls, token=token, token_file=token_file, plaintext_token=plaintext, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def tls_of(arguments: argparse.Namespace) -> TlsConfig | None:
    """The TLS files named by flags; None speaks plaintext.

    Raises:
        ConfigError: where a file cannot be read, or one is missing.
    """
    ca, cert, key = arguments.tls_ca, arguments.tls_cert, arguments.tls_key
    if ca is None and cert is None and key is None:
        return None
    if (cert is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key go together")
    return TlsConfig(root_certificates=_read(ca), certificate=_read(cert), private_key=_read(key))


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
