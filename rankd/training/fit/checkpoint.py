"""Where a run stands, on disk: written whole or not at all, and read by the same run only."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from rankd.errors import ConfigError

FILE = "state.pt"
FORMAT = 2


def save(directory: Path, state: dict[str, Any], fingerprint: str) -> None:
    """Write ``state``; a kill at any moment leaves the one before or this one.

    Raises:
        ConfigError: the directory cannot be written.
    """
    temporary = directory / (FILE + ".new")
    content = io.BytesIO()  # torch reports a full disk as an error of its own, a file does so as OSError
    torch.save({"format": FORMAT, "fingerprint": fingerprint, "state": state}, content)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / FILE)
    except OSError as error:
        raise ConfigError(
            f"--out: {directory} cannot be written: {error.strerror}; free space or name another"
        ) from None


def read(directory: Path) -> bytes | None:
    """The bytes of the checkpoint; None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"--out: {directory / FILE} cannot be read: {error.strerror}") from None


def parse(content: bytes, fingerprint: str) -> dict[str, Any]:
    """The state in a checkpoint.

    Raises:
        ConfigError: it is damaged, or of a run with other data, base or options.
    """
    remedy = "name another --out, or start over with --restart"
    try:
        found = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # noqa: BLE001 - unpickling fails in many ways
        raise ConfigError(f"--out: its checkpoint is damaged; {remedy}") from None
    if found.get("format") != FORMAT:
        raise ConfigError(f"--out: its checkpoint was written by another version of rankd; {remedy}")
    if found["fingerprint"] != fingerprint:
        raise ConfigError(f"--out holds an unfinished run with other data, base or options; {remedy}")
    state: dict[str, Any] = found["state"]
    return state
