"""What bounds this process: control groups of both versions, as seen from within a container and from outside."""

import os
import resource
import subprocess
import sys

import pytest

from rankd.settings.memory_limit import give_back_memory, memory_limit, memory_used

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 2**20


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "536870912\n"}, 512 * MIB),
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"memory.max": "max\n", "a/memory.max": "268435456\n", "a/b/memory.max": "max\n"}, 256 * MIB),
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": "536870912\n"}, 512 * MIB),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "134217728\n"}, 128 * MIB),
        ("4:memory:/host/path\n", {"memory/memory.limit_in_bytes": "134217728\n"}, 128 * MIB),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("3:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "134217728\n"}, MACHINE),
        ("", {}, MACHINE),
        ("0::/\n", {"memory.max": "nonsense"}, MACHINE),
    ],
)
def test_the_smallest_limit_counts(tmp_path, membership, files, limit):
    """Version 1 and 2, nested groups, no limit at all, files that are not there."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        pytest.skip("this process has a limit of its own")
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    write(tmp_path / "self", membership)
    assert memory_limit(tmp_path / "cgroup", tmp_path / "self") == limit
    assert memory_limit(tmp_path / "cgroup", tmp_path / "nowhere") <= MACHINE


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_ulimit_counts(kind):
    """``ulimit -v`` and ``ulimit -d``."""
    code = (
        f"import resource; resource.setrlimit(resource.{kind}, (2**31, 2**31));"
        "from rankd.settings.memory_limit import memory_limit; print(memory_limit())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) <= 2**31


def test_what_is_used_now():
    """More after something was taken; giving back what is free does no harm."""
    before = memory_used()
    taken = b"x" * (64 * MIB)
    assert memory_used() - before > 32 * MIB
    del taken
    give_back_memory()
    assert memory_used() > MIB


def test_a_system_that_does_not_say_is_a_small_machine(monkeypatch, tmp_path):
    """Without /proc, without sysconf, without ulimit: there is a limit all the same, and nothing is raised."""
    monkeypatch.setattr("rankd.settings.memory_limit._STATM", tmp_path / "nothing")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory_used() == 0
    assert memory_limit(tmp_path, tmp_path / "nothing") == 2**32
