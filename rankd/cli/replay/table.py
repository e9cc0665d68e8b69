"""A replay for people at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankd.replay.policies.by_name import POLICIES
from rankd.replay.report.descriptions import describe_engine, describe_scores, describe_trace
from rankd.replay.report.metrics import PolicyFigures
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.verdict import DurationUnit, verdict


def describe_policies() -> RenderableType:
    """Names and what they mean."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, meaning in POLICIES.items():
        table.add_row(Text(name, style="bold"), meaning)
    return table


def view(report: ReplayReport) -> RenderableType:
    """Verdict, trace, and a line for every policy."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("trace", describe_trace(report))
    facts.add_row("engine", describe_engine(report))
    facts.add_row("scores", describe_scores(report))
    for note in report.plan.notes:
        facts.add_row("note", note)
    found = verdict(report)
    parts: list[RenderableType] = [Text(found.text, style="bold"), "", facts, "", _policies(report)]
    own = report.of(report.policy)
    if own.tenants:
        parts += ["", _groups(report, f"tenants under {report.policy}", own.tenants)]
    if own.classes:
        parts += ["", _groups(report, f"classes under {report.policy}", own.classes)]
    parts += ["", _groups(report, f"answers by true length under {report.policy}", own.lengths)]
    return Group(*parts)


def _policies(report: ReplayReport) -> Table:
    unit, fcfs = DurationUnit(report.steps), report.of("fcfs")
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("policy", no_wrap=True)
    for column in ("mean", "", "p50", "p90", "p99", "", "max", "/token", "first token", "gain", "trust"):
        table.add_column(column, justify="right", no_wrap=True)
    for f in report.figures:
        table.add_row(
            Text(f.policy, style="bold" if f.policy == report.policy else ""),
            unit.bare(f.latency.mean),
            _change(f.latency.mean, fcfs.latency.mean, f),
            unit.bare(f.latency.p50),
            unit.bare(f.latency.p90),
            unit.bare(f.latency.p99),
            _change(f.latency.p99, fcfs.latency.p99, f),
            unit.bare(f.latency.max),
            unit.bare(f.per_token.mean),
            unit.bare(f.first_token.mean),
            "-" if f.gain is None else f"{f.gain:.0%}",
            "-" if f.trust is None else f"{f.trust:.2f}",
        )
    return table


def _change(value: float, before: float, f: PolicyFigures) -> str:
    return "" if f.policy == "fcfs" else f"{value / before - 1:+.0%}"


def _groups(report: ReplayReport, title: str, groups: tuple) -> Table:  # type: ignore[type-arg]
    unit = DurationUnit(report.steps)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(title, overflow="fold")
    for column in ("requests", "mean", "", "p99", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for g in groups[:MOST_GROUPS]:
        changes = f"{g.mean_of_fcfs - 1:+.0%}", f"{g.p99_of_fcfs - 1:+.0%}"
        table.add_row(g.name, f"{g.requests:,}", unit.bare(g.mean), changes[0], unit.bare(g.p99), changes[1])
    return table


MOST_GROUPS = 20
"""Lines of a table; the JSON has them all."""
