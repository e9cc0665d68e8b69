"""Processes that are measured, each pinned to the cores it may use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

from rankd.errors import RankdError

_START = 120.0
"""Seconds that a measured process may take until it listens."""


class MeasuredProcess:
    """A child process that prints a JSON line once it listens: a daemon, or the floor of gRPC."""

    def __init__(self, arguments: Sequence[str], *, environment: dict[str, str], cores: set[int] | None) -> None:
        """Start it on ``cores`` (None: any) and wait until it listens.

        Raises:
            RankdError: it did not come up; its last lines of output are in the message.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("RANKD_")} | environment,
            preexec_fn=_pin(cores),  # noqa: PLW1509 - no threads exist in the child yet
        )
        self._output: list[str] = []
        self._ready = threading.Event()
        self.target = ""
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        if not self._ready.wait(_START) or not self.target:
            self.stop()
            raise RankdError("the measured process did not start:\n" + "".join(self._output[-20:]))

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._output = [*self._output[-100:], line]
            if line.startswith("{") and '"listen"' in line:
                self.target = json.loads(line)["listen"]
                self._ready.set()
        self._ready.set()

    @property
    def memory(self) -> int:
        """Resident memory in bytes (Linux; elsewhere 0)."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    @property
    def processor_seconds(self) -> float:
        """Processor time that it used so far, kernel included, to the nanosecond (Linux; elsewhere 0)."""
        try:
            return time.clock_gettime(~self._process.pid << 3 | 2)  # CPUCLOCK_SCHED of all its threads
        except (OSError, AttributeError):
            return 0.0

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _pin(cores: set[int] | None) -> Callable[[], None] | None:
    """What a child does before it runs: bind itself to cores."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        return None
    return lambda: os.sched_setaffinity(0, cores)


def two_cores() -> tuple[set[int] | None, set[int] | None]:
    """A core for the daemon and another for the generator; (None, None) where there are not two to pin to."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) > 1 else (None, None)
