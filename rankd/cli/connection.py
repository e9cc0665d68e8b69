"""Flags that say how to reach a daemon."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankd_client import TlsConfig

from rankd.errors import ConfigError


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
