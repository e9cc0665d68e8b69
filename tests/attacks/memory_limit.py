"""A limit of memory for a process, as a container has one: a control group of version 1 or 2, made by root."""

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A control group with a limit in bytes; ``prefix`` starts a command in it.

    Raises:
        OSError: This machine lets nobody make one.
    """

    def __init__(self, size: int) -> None:
        first = (_ROOT / "memory").is_dir()
        self._place = (_ROOT / "memory" if first else _ROOT) / f"rankd-attack-{os.getpid()}"
        self._place.mkdir()
        self._names = (
            ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
            if first
            else ("memory.max", "memory.peak", "memory.current", "memory.events")
        )
        (self._place / self._names[0]).write_text(str(size))

    @property
    def prefix(self) -> list[str]:
        """What to put before a command, so that it runs in the group."""
        return ["sh", "-c", f'echo $$ > {self._place}/cgroup.procs; exec "$@"', "sh"]

    @property
    def peak(self) -> int:
        """The most that was in use at once, in bytes."""
        return int((self._place / self._names[1]).read_text())

    @property
    def kills(self) -> int:
        """How often the kernel ended a process of the group for its memory."""
        lines = (self._place / self._names[3]).read_text().split("\n")
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def close(self) -> None:
        """Remove the group, whose processes have ended."""
        self._place.rmdir()
