"""How many cores are idle, by the kernel's own counts."""

import os

import pytest

from rankd.settings.processors import idle_cores, usable_cores

HEADER = "cpu  9 9 9 9 9 9 9 9 0 0\n"


def _statistics(path, ticks):
    """One line a core: user, nice, system, idle, waiting for a disk, and three that are nothing."""
    lines = [f"cpu{core} {user} 0 {system} {idle} {waits} 0 0 0 0 0\n" for core, user, system, idle, waits in ticks]
    path.write_text(HEADER + "".join(lines) + "intr 5 0\n")


@pytest.mark.parametrize(
    ("passed", "idle"),
    [
        ([(0, 0, 30, 0), (0, 0, 30, 0)], 2.0),
        ([(30, 0, 0, 0), (0, 0, 30, 0)], 1.0),
        ([(10, 5, 15, 0), (0, 0, 0, 30)], 1.5),
        ([(20, 10, 0, 0), (15, 15, 0, 0)], 0.0),
        ([(0, 0, 0, 0), (0, 0, 30, 0)], 2.0),
    ],
    ids=["nobody works", "one is busy", "half and half", "all are busy", "a clock that stands still"],
)
def test_what_a_core_did_not_work_was_idle(tmp_path, monkeypatch, passed, idle):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3})
    file = tmp_path / "stat"
    _statistics(file, [(core, 100, 100, 100, 100) for core in range(4)])

    def wait(_):
        own = {1: passed[0], 3: passed[1]}
        _statistics(file, [(c, *(100 + t for t in own.get(c, (30, 0, 0, 0)))) for c in range(4)])

    assert idle_cores(file, wait) == pytest.approx(idle)


def test_where_it_is_not_known_all_count_as_idle(tmp_path):
    assert idle_cores(tmp_path / "none", lambda _: None) == usable_cores()
    (tmp_path / "stat").write_text("cpu0 what\n")
    assert idle_cores(tmp_path / "stat", lambda _: None) == usable_cores()
    assert 0 <= idle_cores() <= usable_cores()
