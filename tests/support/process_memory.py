"""What a process takes, from outside."""

from pathlib import Path


def resident(pid):
    """Bytes of memory that a process has now."""
    return _status(pid, "VmRSS")


def peak(pid):
    """The most that it ever had."""
    return _status(pid, "VmHWM")


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
