"""How much memory this process may have, by whatever bounds it first: its container, ``ulimit -v``, the machine."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rankd.settings.control_groups import MEMBERSHIP, ROOT, control_groups

_STATM = Path("/proc/self/statm")
_UNKNOWN = 2**32
"""Bytes of a machine that does not say: as a small one has."""
_UNLIMITED = 2**60
"""What cgroups of version 1 say where there is no limit is a number of this size."""


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Bytes that this process, with those beside it in its container, may have at most.

    Args:
        root: where control groups are mounted, of version 1 or 2.
        membership: the file that says which control group this process is in.
    """
    return min([_of_machine(), *_cgroup_limits(root, membership), *_process_limits()])


def memory_used() -> int:
    """Bytes of memory that this process has now; 0 where the system does not say (it is not Linux)."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def give_back_memory() -> None:
    """Let the C library give freed memory back to the system, where it can (glibc); takes milliseconds."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _of_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _process_limits() -> Iterator[int]:
    """What ``ulimit`` says."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _cgroup_limits(root: Path, membership: Path) -> Iterator[int]:
    """The limits of our control group and of all above it."""
    for group, version in control_groups("memory", root, membership):
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        try:
            value = int((group / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # none here, or "max"
        if 0 < value < _UNLIMITED:
            yield value
