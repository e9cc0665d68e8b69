"""The control groups that this process is in, of version 1 and 2, as seen from within a container and from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
"""Where they are mounted."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""The file that says which ones this process is in."""


def control_groups(controller: str, root: Path, membership: Path) -> Iterator[tuple[Path, int]]:
    """Our control group and all above it, each with its version. Within a container its own is the root: that too.

    Args:
        controller: such as ``memory``.
        root: where control groups are mounted, of version 1 or 2.
        membership: the file that says which control group this process is in.
    """
    yield root, 2
    yield root / controller, 1
    try:
        # Names of control groups are file names: any bytes.
        lines = membership.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        lines = []
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        mount, version = (root, 2) if not controllers else (root / controller, 1)
        if controllers and controller not in controllers.split(","):
            continue
        own = mount / path.lstrip("/")
        for group in (own, *own.parents):
            if group.is_relative_to(mount):
                yield group, version
