"""How much processor there is: control groups of both versions, as seen from within a container and from outside."""

import math
import os
import subprocess
import sys

import pytest

from rankd.settings.processors import processor_quota, usable_cores


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "150000 100000\n"}, 0.5),
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "150000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 1.5),
        ("4:cpu:/host/path\n", {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3.0),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:memory:/x\n", {"cpu/x/cpu.cfs_quota_us": "100000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "100000 0\n"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        ("0::/\n", {"cpu.max": "9" * 400 + " 1\n"}, math.inf),
        ("no such line\n\n0::/a\n", {"a/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\udcff\x85b\n", {"\udcff\x85b/cpu.max": "50000 100000\n"}, 0.5),
        ("", {}, math.inf),
    ],
)
def test_the_smallest_quota_counts(tmp_path, membership, files, quota):
    """Version 1 and 2, nested groups, no quota at all, files that are not there."""
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    write(tmp_path / "self", membership)
    assert processor_quota(tmp_path / "cgroup", tmp_path / "self") == quota
    assert processor_quota(tmp_path / "cgroup", tmp_path / "nowhere") >= quota


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not Linux")
def test_affinity_counts():
    """A process that is bound to one core has one."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from rankd.settings.processors import usable_cores; print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
    assert usable_cores() == len(os.sched_getaffinity(0))
