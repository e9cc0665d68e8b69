"""Files that are followed: read again and again, by content, with what was last good in force meanwhile.

Nothing is concluded from times, sizes or inodes: a file can be replaced with all three as they were, an attribute cache
of a network volume tells old ones, and two writes fall into one tick of a coarse clock. Such files are small.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from rankd.errors import ConfigError

_log = structlog.get_logger("rankd")

T = TypeVar("T")
Contents = Mapping[str, bytes]
"""What files hold, by the setting that names them."""

_MOST_BYTES = 32 * 2**20
"""Of one file. A hundred thousand tokens are 15 MB."""
_LOOK_EVERY = 0.5
_HUNG = 10.0
"""Seconds after which a look that has not ended, as on a volume that does not answer, counts as one that failed."""
_WRONG_AGAIN = 5.0
"""Seconds until contents that were wrong are tried once more: it may have been the moment, as without descriptors."""
_MOST_UNSETTLED = 10


@dataclass(frozen=True, slots=True)
class FollowedState:
    """How a followed file stands."""

    setting: str
    failing_for: float | None
    """Seconds since when what it holds, if anything, is not what is in force; None where all is well."""


class ReloadingFile(Generic[T]):
    """What one file holds, or several that belong together. ``current`` may be read in any thread."""

    def __init__(
        self,
        setting: str,
        paths: Mapping[str, Path],
        parse: Callable[[Contents], T],
        *,
        settle: bool = True,
        of_secrets: bool = True,
    ) -> None:
        """Read it for the first time.

        Args:
            setting: what the file is called in logs, metrics and on the page.
            paths: where it is, or they are, by setting.
            parse: makes of the contents what is in force.
            settle: take only what two looks in a row have seen. Half a file may well be valid, and say more than all
                of it: an entry whose last line, its tenant or its end, is not written yet.
            of_secrets: whether the log calls them secrets, or a certificate.

        Raises:
            ConfigError: it is wrong, naming the setting, the file, the entry and the remedy.
        """
        self.setting = setting
        self._paths, self._parse, self._settle, self._of_secrets = dict(paths), parse, settle, of_secrets
        self._looking = threading.Lock()
        self._looking_since: float | None = None
        # What comes through a pipe comes once.
        self.followed = not any(_is_pipe(path) for path in paths.values())
        contents = self._read(os.O_RDONLY)
        self._before: bytes | str = _digest(contents)
        self._in_force: bytes | str = self._before
        self._unsettled = 0
        self._refused: tuple[bytes | str, float] = "", 0.0
        self._problem: tuple[str, float] | None = None
        self.current = parse(contents)

    def look(self) -> None:
        """Read the file, and let what it holds be in force if that is new; returns at once while another look lasts.

        A wrong or unreadable file is logged, what was read before stays in force, and the next look reads again.
        """
        if not self.followed or not self._looking.acquire(blocking=False):
            return
        try:
            self._looking_since = time.monotonic()
            self._look(self._looking_since)
        finally:
            self._looking_since = None
            self._looking.release()

    def state(self) -> FollowedState:
        """How it stands; in any thread, and whatever a look is held up by."""
        now, since, problem = time.monotonic(), self._looking_since, self._problem
        if problem is None and since is not None and now - since > _HUNG:
            return FollowedState(self.setting, now - since)
        return FollowedState(self.setting, None if problem is None else now - problem[1])

    def _look(self, now: float) -> None:
        contents: Contents | None = None
        try:
            # Never waits for the other end of a pipe that took the file's place.
            contents = self._read(os.O_RDONLY | os.O_NONBLOCK)
            seen: bytes | str = _digest(contents)
        except ConfigError as error:
            seen = str(error)
        before, self._before = self._before, seen
        if seen == self._in_force:
            self._well()
        elif self._settle and seen != before and self._unsettled < _MOST_UNSETTLED:
            self._unsettled += 1
        elif contents is None:
            self._failed(str(seen), now)
        elif self._refused[0] != seen or now - self._refused[1] >= _WRONG_AGAIN:
            self._take(contents, seen, now)

    def _take(self, contents: Contents, seen: bytes | str, now: float) -> None:
        try:
            self.current = self._parse(contents)
        except ConfigError as error:
            self._refused = seen, now
            self._failed(str(error), now)
        except Exception as error:  # noqa: BLE001 - whatever it is, a token that is taken back later must still be seen
            self._refused = seen, now
            self._failed(f"{self.setting}: cannot be read because of a bug ({type(error).__name__})", now)
        else:
            # Only now: what could not be read was not seen.
            self._in_force = seen
            self._problem = None
            self._well()
            self._tell_in_force()

    def _well(self) -> None:
        self._unsettled = 0
        self._refused = "", 0.0
        if self._problem is not None:
            self._problem = None
            self._tell_in_force()

    def _tell_in_force(self) -> None:
        if self._of_secrets:
            _log.info("secrets_reloaded", setting=self.setting)
        else:
            _log.info("certificate_renewed", setting=self.setting)

    def _failed(self, reason: str, now: float) -> None:
        self._unsettled = 0
        known = self._problem
        if known is None or known[0] != reason:
            self._problem = reason, now if known is None else known[1]
            if self._of_secrets:
                _log.warning("secrets_unusable", setting=self.setting, reason=reason)
            else:
                _log.warning("certificate_unusable", setting=self.setting, reason=reason)

    def _read(self, flags: int) -> Contents:
        return {setting: read_secret(path, setting, flags) for setting, path in self._paths.items()}


def read_secret(path: Path, setting: str, flags: int = os.O_RDONLY) -> bytes:
    """All of a file.

    Raises:
        ConfigError: it cannot be read, naming it.
    """
    try:
        with os.fdopen(os.open(path, flags | os.O_CLOEXEC), "rb") as file:
            if flags & os.O_NONBLOCK and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{setting}: {path} is no file any more")
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{setting}: {path} has more than {_MOST_BYTES // 2**20} MiB")
    return data


class FileWatch:
    """Looks at files time and again, each in a thread of its own: a volume that hangs holds up its own files only.

    Daemon threads, not those of an executor: at the end of the process Python would wait for one that hangs.
    """

    def __init__(self) -> None:
        """Nothing is looked at yet."""
        self._files: list[ReloadingFile[Any]] = []
        self._ended = threading.Event()

    def add(self, file: ReloadingFile[Any] | None) -> None:
        """Follow a file from now on; None is none."""
        if file is None:
            return
        self._files.append(file)
        if file.followed:
            threading.Thread(target=self._follow, args=(file,), name="rankd-file", daemon=True).start()

    def states(self) -> list[FollowedState]:
        """How each one stands."""
        return [file.state() for file in self._files]

    def failing(self) -> list[str]:
        """The settings of files whose contents are not what is in force."""
        return [state.setting for state in self.states() if state.failing_for is not None]

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _follow(self, file: ReloadingFile[Any]) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            file.look()


def _digest(contents: Contents) -> bytes:
    # Of digests, so that no byte can move from one file to the next unseen. Kept in place of the secrets.
    return b"".join(hashlib.sha256(data).digest() for data in contents.values())


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False
