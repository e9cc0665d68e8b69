"""Bytes that were read and hashed once, and that nothing changes afterwards."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_IN_MEMORY = hasattr(os, "memfd_create")
_DESCRIPTORS = Path("/proc/self/fd")
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE, which not every build of Python names."""
_ADD_SEALS = 1033
"""F_ADD_SEALS."""


class MemoryFile:
    """A file without a name: of memory on Linux, elsewhere of the directory for temporary files.

    It has a descriptor, so that a child process can fill it and a library read it by path without holding the
    interpreter, as loading a model from ``bytes`` does. Closed when it is forgotten.
    """

    def __init__(self, name: str) -> None:
        """Make an empty one.

        Raises:
            OSError: no descriptor is to be had, or there is nowhere to write.
        """
        if _IN_MEMORY:
            self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())

    @classmethod
    def of(cls, fd: int) -> MemoryFile:
        """One that another process made; its descriptor is this one's from here on."""
        made = cls.__new__(cls)
        made.fd = fd
        return made

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return os.fstat(self.fd).st_size

    def seal(self) -> None:
        """Refuse every further change, whoever has a descriptor (Linux): a mapping of it never loses its pages."""
        seal(self.fd)

    def read(self) -> bytes:
        """All bytes."""
        parts: list[bytes] = []
        while part := os.pread(self.fd, 2**24, sum(map(len, parts))):
            parts.append(part)
        return b"".join(parts)

    def source(self) -> str | bytes:
        """What a library loads: a path where descriptors have one, else the bytes."""
        return str(_DESCRIPTORS / str(self.fd)) if _IN_MEMORY and _DESCRIPTORS.is_dir() else self.read()

    def close(self) -> None:
        """Give the memory back, as soon as nobody else has it open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()


def seal(fd: int) -> None:
    """Refuse every further change of a memory file; of another one nothing happens."""
    if sys.platform == "linux" and _IN_MEMORY:
        import fcntl  # noqa: PLC0415 - Windows has none

        try:
            fcntl.fcntl(fd, _ADD_SEALS, _ALL_SEALS)
        except OSError:
            return  # sealed already, or a file of another kind
