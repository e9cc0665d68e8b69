"""Reaching a daemon: flags that say how, a client as they say, and what became of it as an exit status."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rankd_client import AdminClient, RankdRefusedError, RankdUnavailableError, TlsConfig

from rankd.cli.streams import complain
from rankd.errors import ConfigError

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_ADMIN = "127.0.0.1:50052"
DONE, UNREACHABLE, BAD_INPUT, REFUSED = 0, 1, 2, 3
"""Exit statuses of the verbs that administer a daemon."""
C = TypeVar("C")
_URL_SCHEMES = ("http", "https", "grpc", "grpcs", "tcp")
_GRPC_SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds")
"""What gRPC knows names of its own by: `dns:///NAME:PORT`."""


def add_target_flags(verb: argparse.ArgumentParser) -> None:
    """How to reach the daemon's public listener."""
    verb.add_argument(
        "--target",
        metavar="HOST:PORT",
        default=os.environ.get("RANKD_TARGET", DEFAULT_TARGET),
        help=f"the daemon; default: RANKD_TARGET or {DEFAULT_TARGET}",
    )
    add_connection_flags(verb)


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


def add_connection_flags(verb: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
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
    verb.add_argument(
        "--web-proxy",
        action="store_true",
        help="go through the proxy that http_proxy and its like name, not straight to it (RANKD_WEB_PROXY=true)",
    )


def connect(kind: Callable[..., C], target: str, arguments: argparse.Namespace, **options: Any) -> C:
    """A client of the daemon at ``target``, as flags and variables say; the flag goes before the variables.

    Raises:
        ConfigError: a file cannot be read or is missing, or the token cannot be shown there.
    """
    check_target(target, "--admin" if kind is AdminClient else "--target")
    token = os.environ.get("RANKD_TOKEN", "").strip() or None
    token_file: Any = os.environ.get("RANKD_TOKEN_FILE", "").strip() or None
    if arguments.token_file is not None:
        token, token_file = None, arguments.token_file
    plaintext = arguments.plaintext_token or os.environ.get("RANKD_PLAINTEXT_TOKEN") == "true"
    web_proxy = arguments.web_proxy or os.environ.get("RANKD_WEB_PROXY") == "true"
    options |= {"tls": tls_of(arguments), "plaintext_token": plaintext, "web_proxy": web_proxy}
    try:
        return kind(target, token=token, token_file=token_file, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_target(target: str, flag: str) -> None:
    """Refuse what gRPC would take for a name that is not known, with a cause that is not it.

    Raises:
        ConfigError: it is a URL, or names no port.
    """
    scheme, found, rest = target.partition("://")
    if found and scheme.lower() in _URL_SCHEMES:
        tls = "; --tls-ca FILE speaks TLS" if scheme.lower() in ("https", "grpcs") else ""
        raise ConfigError(f"{flag} {target}: give HOST:PORT without {scheme}://, such as {rest.split('/')[0]}{tls}")
    if ":" in target and target.split(":", 1)[0].lower() in _GRPC_SCHEMES:
        return
    if not re.search(r"[^:]:\d{1,5}$", target):
        raise ConfigError(f"{flag} {target}: is not HOST:PORT, such as {DEFAULT_TARGET} or [::1]:50051")


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


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
