"""A file of lines to which several processes append, each line whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_BYTES = 4 << 20
"""Read of the file's end: thousands of lines. What is before was long ago."""
_LOCK_SECONDS = 5.0
"""Another process appends in milliseconds; one that holds the lock for longer hangs."""
_LOCK_AGAIN = 0.02
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""A file system without locks: a line is one write at the file's end there."""


class HistoryFile:
    """Lines of one file; an append that fails leaves it as it was."""

    def __init__(self, path: Path) -> None:
        """Remember where; nothing is read or made yet."""
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def changed_lines(self) -> list[bytes] | None:
        """All whole lines, if the file changed since they were last read; a torn last one is none.

        Raises:
            OSError: it cannot be read.
        """
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            changed, self._seen = self._seen is not None, None
            return [] if changed else None
        try:
            status = os.fstat(file)
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return None
            lines = _lines(file, status.st_size)
            self._seen = seen
            return lines
        finally:
            os.close(file)

    def append(self, line: bytes) -> list[bytes]:
        """Add a line or several, newline and all, and sync them; gives all lines there are then.

        What a crash left of a line is cut off first.

        Raises:
            OSError: it cannot be written, and the file is as it was; TimeoutError: another process holds the lock.
        """
        new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            with _locked(file):
                size = os.fstat(file).st_size
                lines = _lines(file, size)
                whole = _whole(file, size)
                if whole < size:
                    os.ftruncate(file, whole)
                self._write(file, line, whole)
                if new:
                    _sync_directory(self.path.parent)
                status = os.fstat(file)
                self._seen = (status.st_ino, status.st_size, status.st_mtime_ns)
                return [*lines, *line.split(b"\n")[:-1]]
        finally:
            os.close(file)

    def _write(self, file: int, line: bytes, before: int) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise


@contextmanager
def _locked(file: int) -> Iterator[None]:
    end = time.monotonic() + _LOCK_SECONDS
    locked = False
    while not locked:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "another process has locked it") from None
            time.sleep(_LOCK_AGAIN)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            break
    try:
        yield
    finally:
        if locked:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def _lines(file: int, size: int) -> list[bytes]:
    """The whole lines of the file's end."""
    start = max(0, size - MOST_BYTES)
    content = os.pread(file, size - start, start)
    lines = content.split(b"\n")[:-1]  # what follows the last newline is torn, or nothing
    return lines[1:] if start else lines


def _whole(file: int, size: int) -> int:
    """Where the last whole line ends."""
    end = size
    while end:
        start = max(0, end - 4096)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
