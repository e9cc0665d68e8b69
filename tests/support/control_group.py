"""A limit of memory for a process and all its children, by the kernel."""

import contextlib
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class ControlGroup:
    """A control group where this user may make one, else ``ulimit -v`` with room for what is mapped and not used."""

    def __init__(self, name, limit):
        self.kind, self._path = "ulimit", None
        self.prefix = ("bash", "-c", f'ulimit -v {limit // 1024 + 2**20}; exec "$@"', "bash")
        for root, setting in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
            path = root / name
            try:
                path.mkdir()
                (path / setting).write_text(str(limit))
            except OSError:
                with contextlib.suppress(OSError):
                    path.rmdir()
                continue
            self.kind, self._path = "cgroup", path
            join = f'echo $$ > {path}/cgroup.procs; exec "$@"'
            self.prefix = ("bash", "-c", join, "bash")
            return

    @property
    def peak(self):
        """The most that was in use at once, bytes; None where there is no group."""
        return self._number("memory.max_usage_in_bytes", "memory.peak")

    @property
    def kills(self):
        """How often the kernel ended a process of the group for its memory; None where there is no group."""
        if self._path is None:
            return None
        file = next(f for n in ("memory.oom_control", "memory.events") if (f := self._path / n).exists())
        return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill "))

    def _number(self, *names):
        files = [] if self._path is None else [self._path / name for name in names]
        return next((int(file.read_text()) for file in files if file.exists()), None)

    def close(self):
        """Take it away; its processes have ended."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.rmdir()
