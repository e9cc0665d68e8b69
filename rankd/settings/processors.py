"""How much processor this process may use: by affinity, and by the quota of its container."""

from __future__ import annotations

import math
import os
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
