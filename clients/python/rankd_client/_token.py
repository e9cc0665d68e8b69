"""A token, shown with every call and read again when its file changes; and where it may be shown."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from pathlib import Path

from rankd_client._connection import TlsConfig

Metadata = tuple[tuple[str, str], ...]
_LOOK_EVERY = 1.0
"""Seconds between two looks at the file."""
_MOST_BYTES = 2**16
_NOTHING: Metadata = ()


class Token:
    """What a client shows. Safe to share between threads."""

    def __init__(
        self,
        token: str | None,
        token_file: str | os.PathLike[str] | None,
        *,
        target: str,
        tls: TlsConfig | None,
        plaintext: bool,
    ) -> None:
        """Read the file, where there is one.

        Raises:
            ValueError: the file cannot be read or holds no token, both were given, or anybody on the way could read it.
        """
        if token is not None and token_file is not None:
            raise ValueError("token, token_file: give one of them")
        self._path = None if token_file is None else Path(token_file)
        self._lock = threading.Lock()
        self._look_at = time.monotonic() + _LOOK_EVERY
        self._shown = _NOTHING
        if token is not None:
            self._shown = _shown(token.strip(), "token")
        elif self._path is not None:
            self._shown = _shown(_read(self._path), "token_file")
        if self._shown and tls is None and not plaintext and not local(target):
            raise ValueError(
                f"token: {target} is not on this machine, and without TLS anybody on the way could read it: give tls, "
                "or say plaintext_token where a mesh or a proxy on this machine speaks TLS"
            )

    def metadata(self) -> Metadata:
        """What goes along with a call."""
        if self._path is not None and time.monotonic() >= self._look_at:
            self._look()
        return self._shown

    def _look(self) -> None:
        """Read the file anew: a time, a size and an inode may be as before though what it holds is not."""
        if not self._lock.acquire(blocking=False):
            return  # whoever looks now does so for this call, too
        try:
            self._look_at = time.monotonic() + _LOOK_EVERY
            assert self._path is not None
            # What came through a pipe came once: this read must not wait for more.
            self._shown = _shown(_read(self._path, getattr(os, "O_NONBLOCK", 0)), "token_file")
        except ValueError:
            return  # being written, perhaps: what was read before goes on, and the file is looked at again
        finally:
            self._lock.release()


def _read(path: Path, flags: int = 0) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | flags), "rb") as file:
            return file.read(_MOST_BYTES).decode("ascii").strip()
    except OSError as error:
        raise ValueError(f"token_file: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"token_file: {path} holds no token: it has characters that are not ASCII") from None


def _shown(token: str, field: str) -> Metadata:
    if not token or not all("!" <= c <= "~" for c in token):
        raise ValueError(f"{field}: must hold one token, of visible ASCII characters")
    return (("authorization", f"Bearer {token}"),)


def local(target: str) -> bool:
    """Whether all that a target names is on this machine. Of names this is believed of localhost alone."""
    scheme, _, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    addresses = rest.split(",") if scheme in ("ipv4", "ipv6") else [target.rpartition("/")[2]]
    return all(_loopback(address) for address in addresses)


def _loopback(address: str) -> bool:
    host = address.rpartition(":")[0] if "]" not in address else address.partition("]")[0].lstrip("[")
    host = host or address
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
