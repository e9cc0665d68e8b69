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

    def close(self):
        """Take it away; its processes have ended."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.rmdir()
