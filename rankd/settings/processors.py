"""How much processor this process may use: by affinity, and by the quota of its container."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rankd.settings.control_groups import MEMBERSHIP, ROOT, control_groups


def usable_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def processor_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float:
    """Cores' worth of time that the container may use; infinite where nothing bounds it.

    Who spends it before its period ends, a tenth of a second as a rule, stands still until then, all threads.

    Args:
        root: where control groups are mounted, of version 1 or 2.
        membership: the file that says which control group this process is in.
    """
    return min((_quota(group, version) for group, version in control_groups("cpu", root, membership)), default=math.inf)


STATISTICS = Path("/proc/stat")
_LOOK = 0.3
"""Seconds over which cores are looked at: 30 ticks of the kernel's clock."""


def idle_cores(statistics: Path = STATISTICS, wait: Callable[[float], None] = time.sleep) -> float:
    """How many of the cores that this process may run on have nothing to do just now, as a fraction of cores each.

    That is looked at over a third of a second, and by core: the machine's load average is a minute old, and counts what
    runs on cores that this process may not use. Where it cannot be known all cores count as idle.

    Args:
        statistics: the kernel's, time by core in ticks.
        wait: called with the seconds to wait.
    """
    with suppress(OSError, ValueError, AttributeError):
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        before = _times(statistics, mine)
        wait(_LOOK)
        after = _times(statistics, mine)
        passed = [(after[core][0] - idle, after[core][1] - total) for core, (idle, total) in before.items()]
        return sum(min(1.0, idle / total) if total > 0 else 1.0 for idle, total in passed) if passed else usable_cores()
    return float(usable_cores())


def _times(statistics: Path, cores: set[str]) -> dict[str, tuple[int, int]]:
    """By core, ticks that it was idle, and all."""
    rows = [line.split() for line in statistics.read_text(encoding="ascii").splitlines()]
    found = {row[0]: [int(ticks) for ticks in row[1:9]] for row in rows if row and row[0] in cores}
    # user, nice, system, idle, waiting for a disk, ...
    return {core: (ticks[3] + ticks[4], sum(ticks)) for core, ticks in found.items()}


def _quota(group: Path, version: int) -> float:
    try:
        if version == 2:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{n}_us").read_text(encoding="ascii") for n in ("quota", "period"))
        share = int(quota) / int(period)
    except (OSError, ValueError, ArithmeticError):
        return math.inf  # none here, or "max"
    return share if share > 0 else math.inf  # version 1 says -1
