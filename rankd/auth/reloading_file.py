"""A file that is read again when it changed, and keeps its last good content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from rankd.errors import ConfigError

_log = structlog.get_logger("rankd")

T = TypeVar("T")
Stamp = tuple[int, int, int] | None


class ReloadingFile(Generic[T]):
    """What a file holds. ``reload_if_changed`` belongs to one thread at a time, ``current`` to any."""

    def __init__(self, setting: str, path: Path, read: Callable[[Path], T]) -> None:
        """Read it for the first time.

        Raises:
            ConfigError: it is wrong, naming the setting, the file, the entry and the remedy.
        """
        self._setting, self._path, self._read = setting, path, read
        # Before the file is read: a change meanwhile is then seen as one.
        self._seen = stamp_of(path)
        self.current = read(path)

    def reload_if_changed(self) -> None:
        """Read the file again where it changed. A wrong one is logged, and what was read before stays in force."""
        stamp = stamp_of(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.current = self._read(self._path)
        except ConfigError as error:
            # Perhaps it is being written. The next change is read again.
            _log.warning("secrets_unusable", setting=self._setting, reason=str(error))
        else:
            _log.info("secrets_reloaded", setting=self._setting)


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does, or the file that a symbolic link leads to, as in a volume of Kubernetes."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
