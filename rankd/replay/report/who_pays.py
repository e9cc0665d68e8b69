"""Who pays for the order: groups of requests under every objective, against the same requests in arrival order."""

from __future__ import annotations

from dataclasses import dataclass

from rankd.replay.report.metrics import RequestGroup
from rankd.replay.report.report import ReplayReport

MOST_TENANTS = 12
"""The largest ones are shown; JSON has them all."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group."""

    name: str
    requests: int
    ratios: tuple[float, ...]
    """Its mean latency over that in arrival order, under each of the policies compared."""


@dataclass(frozen=True, slots=True)
class GroupTable:
    """Groups of one kind."""

    by: str
    """What the groups differ in."""
    rows: tuple[GroupRow, ...]
    left_out: int
    """Smaller groups that are not shown."""


def compared_policies(report: ReplayReport) -> tuple[str, ...]:
    """Every objective, and the daemon's own policy where it follows none."""
    found = [p.policy for p in report.front if p.objective is not None or p.policy == report.own]
    return tuple(name for name in found if name != "fcfs") or (report.own,)


def who_pays(report: ReplayReport) -> list[GroupTable]:
    """Tables by length of the answer and of the prompt, by class and by tenant; a single group says nothing."""
    figures = [report.of(name) for name in compared_policies(report)]
    tables = (
        ("length of the answer", [f.lengths for f in figures]),
        ("length of the prompt", [f.prompts for f in figures]),
        ("class", [f.classes for f in figures]),
        ("tenant", [f.tenants for f in figures]),
    )
    return [_table(by, groups) for by, groups in tables if len(groups[0]) > 1]


def _table(by: str, of_policies: list[tuple[RequestGroup, ...]]) -> GroupTable:
    rows = [
        GroupRow(groups[0].name, groups[0].requests, tuple(g.mean_of_fcfs for g in groups))
        for groups in zip(*of_policies, strict=True)
    ]
    if by != "tenant":
        return GroupTable(by, tuple(rows), 0)
    largest = sorted(rows, key=lambda row: -row.requests)[:MOST_TENANTS]
    return GroupTable(by, tuple(largest), len(rows) - len(largest))
