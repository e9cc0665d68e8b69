"""A clock that a script sets, for real daemons in processes of their own, and for clients and verbs in this one."""

import io
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from rankd.cli import main
from support import scripted_process
from support.daemon import DaemonProcess
from support.scripted_process import SIZE, ClockFile, following

_PATIENCE = 240.0
"""Seconds, real ones, that a daemon has to settle."""


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

    def here(self):
        """Let clients and verbs of this process tell this time, as long as the context lasts."""
        return following(self._file)

    def daemon(self, **environment) -> DaemonProcess:
        """``rankd serve`` by this clock; ``environment`` without its ``RANKD_``."""
        named = {f"RANKD_{name.upper()}": str(value) for name, value in environment.items()}
        return DaemonProcess(None, prefix=(sys.executable, scripted_process.__file__, self.path), environment=named)

    def run(self, *arguments) -> subprocess.CompletedProcess:
        """Another verb by this clock, in this process; exit status, stdout and stderr as text."""
        said, complained = io.StringIO(), io.StringIO()
        plain = {"NO_COLOR": "1", "COLUMNS": "200"}
        with self.here(), redirect_stdout(said), redirect_stderr(complained), mock.patch.dict(os.environ, plain):
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as ended:
                status = ended.code
        return subprocess.CompletedProcess(arguments, status, said.getvalue(), complained.getvalue())

    def run_apart(self, *arguments) -> subprocess.CompletedProcess:
        """The same in a process of its own, as for what loads much."""
        command = [sys.executable, scripted_process.__file__, self.path, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
