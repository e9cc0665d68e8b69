"""The file that windows survive a restart in: numpy's npz with a JSON header, no pickle, written atomically."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.errors import RankdError

FORMAT = 1
_HEADER = "rankd"
SnapshotColumns = dict[str, NDArray[Any]]


class SnapshotError(RankdError):
    """A file is no snapshot that can be read; the message says why and holds nothing of the file's contents."""


def write(path: Path, header: dict[str, Any], columns: SnapshotColumns) -> None:
    """Replace the file, or leave it as it was.

    Only the owner may read it: it holds lengths, scores and hashes of request ids.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    text = json.dumps(header | {"format": FORMAT}, allow_nan=False).encode()
    with suppress(FileNotFoundError):
        beside.unlink()  # of a writer that was killed
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        np.savez(file, allow_pickle=False, **{_HEADER: np.frombuffer(text, dtype=np.uint8)}, **columns)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path) -> tuple[dict[str, Any], SnapshotColumns]:
    """The header and columns of a file.

    Raises:
        FileNotFoundError: there is none.
        SnapshotError: it cannot be used.
    """
    if path.exists() and not path.is_file():
        raise SnapshotError("is no file")  # opening a pipe would wait for ever
    try:
        with path.open("rb") as file:
            _check_sizes(file, path.stat().st_size)
            with np.load(file, allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
        header = json.loads(columns.pop(_HEADER).tobytes(), parse_constant=_no_constant)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SnapshotError(f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, EOFError, MemoryError, RecursionError, NotImplementedError) as error:
        raise SnapshotError(f"is damaged, or another kind of file: {type(error).__name__}") from None
    except (zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise SnapshotError(f"is damaged, or another kind of file: {type(error).__name__}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SnapshotError(f"is not of format {FORMAT}")
    return header, columns


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check_sizes(file: Any, size: int) -> None:
    """Refuse what would unpack to more than the file holds."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > size:
            raise ValueError("compressed")
    file.seek(0)
