"""The files of a ranker's directory, each read once: what is hashed is what is loaded, whatever happens on the disk.

Loads the standard library only, since a child process begins with it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rankd.errors import ArtifactError
from rankd.scoring.memory_file import MemoryFile, seal

MANIFEST, MODEL, TOKENIZER = "manifest.json", "model.onnx", "tokenizer.json"
CUDA_MODEL = "model.cuda.onnx"
"""The graph for CUDA, which a ranker may have beside the one for CPUs."""
TRAINED_ROWS = "trained_rows.bin"
"""The list of prompts that it was made of, which it may have."""
FILES = (MANIFEST, MODEL, TOKENIZER)
"""What every ranker has."""
OPTIONAL_FILES = (CUDA_MODEL, TRAINED_ROWS)
ALL_FILES = (*FILES, *OPTIONAL_FILES)
LARGEST_MANIFEST = 2**19
DEFAULT_MAX_BYTES = 2**30
"""Of all files together, unless a setting says otherwise."""
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class ArtifactFiles:
    """What was read of a directory."""

    path: Path
    """The directory, without links."""
    content: Mapping[str, MemoryFile]
    """By name, of the files that are there."""
    sha256: Mapping[str, str]

    @classmethod
    def of(cls, path: Path, content: Mapping[str, MemoryFile], sha256: Mapping[str, str]) -> ArtifactFiles:
        """What was filled of the files in memory; one that stayed empty is given back."""
        for name, file in content.items():
            if name not in sha256:
                file.close()
        return cls(path, {name: content[name] for name in sha256}, sha256)


def empty_files() -> dict[str, MemoryFile]:
    """A file in memory for each that a ranker may have.

    Raises:
        OSError: no descriptor is to be had.
    """
    return {name: MemoryFile(name) for name in ALL_FILES}


def read_files(path: Path, max_bytes: int) -> ArtifactFiles:
    """Read a ranker's directory.

    Raises:
        ArtifactError: see ``fill_files``.
    """
    try:
        content = empty_files()
    except OSError as error:
        raise ArtifactError("UNREADABLE_FILE", f"ranker {shown(path)}: {error.strerror}") from None
    resolved, sha256 = fill_files(path, {name: file.fd for name, file in content.items()}, max_bytes)
    return ArtifactFiles.of(resolved, content, sha256)


def fill_files(path: Path, descriptors: Mapping[str, int], max_bytes: int) -> tuple[Path, dict[str, str]]:
    """Read each file of a directory once, into a descriptor, which is sealed.

    Args:
        path: the directory.
        descriptors: by name, of empty memory files.
        max_bytes: of all files together.

    Returns:
        The directory without links, and the SHA-256, in hex, of each file that is there.

    Raises:
        ArtifactError: NOT_A_DIRECTORY, MISSING_FILE, EMPTY_FILE, UNREADABLE_FILE, BAD_MANIFEST or TOO_LARGE.
    """
    try:
        if not path.is_dir():
            raise ArtifactError(
                "NOT_A_DIRECTORY", f"ranker {shown(path)}: no such directory; give one that holds {MANIFEST}"
            )
        path = path.resolve()
        there = (*FILES, *(name for name in OPTIONAL_FILES if os.path.lexists(path / name)))
        sizes = {name: _size_of(path / name) for name in there}
        _check_sizes(path, sizes, max_bytes)
        return path, {name: _read(path / name, descriptors[name], sizes[name]) for name in there}
    except OSError as error:  # a directory that may not be entered, a path that is too long
        raise ArtifactError(
            "UNREADABLE_FILE", f"ranker {short(shown(path))} cannot be read: {error.strerror}; check its permissions"
        ) from None


def _size_of(path: Path) -> int:
    if not path.is_file():  # opening a fifo would wait for somebody who writes
        what = "is not a file" if path.exists() else "is missing"
        needed = f"a ranker needs {MODEL}, {TOKENIZER} and {MANIFEST}"
        if path.name in OPTIONAL_FILES:
            needed = f"copy it again, or remove it if {MANIFEST} does not name it"
        raise ArtifactError("MISSING_FILE", f"{path} {what}: {needed}")
    size = path.stat().st_size
    if size == 0:
        raise ArtifactError("EMPTY_FILE", f"{path} is empty: copy the directory again")
    return size


def _check_sizes(path: Path, sizes: Mapping[str, int], max_bytes: int) -> None:
    """Before anything is read: a sparse file may say that it is as long as it likes."""
    if sizes[MANIFEST] > LARGEST_MANIFEST:
        raise ArtifactError(
            "BAD_MANIFEST", f"{path / MANIFEST} is larger than {LARGEST_MANIFEST} bytes: not a manifest"
        )
    if (total := sum(sizes.values())) > max_bytes:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ArtifactError(
            "TOO_LARGE",
            f"{path} holds {total} bytes, {sizes[largest]} of them in {largest}, and {max_bytes} are allowed: "
            "export a smaller ranker, or raise scoring.max_artifact_bytes (RANKD_SCORING__MAX_ARTIFACT_BYTES)",
        )


def _read(path: Path, into: int, size: int) -> str:
    """Copy a file of ``size`` bytes; its SHA-256. What is swapped or grows meanwhile is an error, not a wait."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _changed(path)
            digest, copied = hashlib.sha256(), 0
            while piece := os.read(file, _PIECE):
                copied += len(piece)
                if copied > size:
                    raise _changed(path)
                digest.update(piece)
                _write(into, piece)
        finally:
            os.close(file)
    except OSError as error:
        what = "no memory is left for it" if error.errno == errno.ENOSPC else error.strerror
        raise ArtifactError("UNREADABLE_FILE", f"{path} cannot be read: {what}") from None
    if copied != size:
        raise _changed(path)
    seal(into)
    return digest.hexdigest()


def _write(into: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(into, piece) :]


def _changed(path: Path) -> ArtifactError:
    return ArtifactError("CHANGED_MEANWHILE", f"{path} changed while it was read: load it again when it is complete")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        ArtifactError: UNREADABLE_FILE.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError("UNREADABLE_FILE", f"{path} cannot be read: {error.strerror}") from None


def shown(path: Path) -> str:
    """A path as messages show it: ``./ngram`` is ``ngram`` as a Path, which reads as a bundled ranker's name."""
    return str(path) if path.is_absolute() or len(path.parts) > 1 else f"./{path}"


def short(value: object) -> str:
    """A value as messages show it, which may be of any length."""
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "..."
