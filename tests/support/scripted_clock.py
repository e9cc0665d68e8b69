"""A clock that a script sets, for real daemons and command lines in processes of their own, and for clients here."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import rankd_client._client_queue as client_queue
import rankd_client._reports as client_reports

from support import scripted_process
from support.daemon import DaemonProcess
from support.scripted_process import SIZE, ClockFile

_PATIENCE = 240.0
"""Seconds, real ones, that a daemon has to settle."""


class _ScriptedTime:
    """The module ``time`` of the client's, but for what the machine's clock tells."""

    def __init__(self, clock):
        self._clock = clock

    def __getattr__(self, name):
        return getattr(time, name)

    def time(self):
        return self._clock.now


class ScriptedClock:
    """The time of a script. It never runs by itself."""

    def __init__(self, path: Path, now: float):
        path.write_bytes(bytes(SIZE))
        self.path = path
        self._file = ClockFile(path)
        self._file.now = now

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._file.now

    def to(self, now: float) -> None:
        """Let it be so late; never earlier than it was."""
        self._file.now = max(now, self._file.now)

    def settle(self, process=None) -> None:
        """Wait until a daemon has done, and shows, all that is due by now."""
        self._file.settled = 0.0
        end = time.monotonic() + _PATIENCE
        while self._file.settled < self.now:
            assert process is None or process.poll() is None, "the daemon has ended"
            assert time.monotonic() < end, "the daemon does not settle"
            time.sleep(0.01)

    @contextmanager
    def in_client(self):
        """Let clients of this process tell this time."""
        modules = client_queue, client_reports
        try:
            for module in modules:
                module.time = _ScriptedTime(self)
            yield self
        finally:
            for module in modules:
                module.time = time

    def daemon(self, **environment) -> DaemonProcess:
        """``rankd serve`` by this clock; ``environment`` without its ``RANKD_``."""
        named = {f"RANKD_{name.upper()}": str(value) for name, value in environment.items()}
        return DaemonProcess(None, prefix=(sys.executable, scripted_process.__file__, self.path), environment=named)

    def run(self, *arguments, timeout=300) -> subprocess.CompletedProcess:
        """Another verb by this clock, as a process; exit status, stdout and stderr as text."""
        return subprocess.run(
            [sys.executable, scripted_process.__file__, str(self.path), *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, check=False,
            env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"},
        )  # fmt: skip
