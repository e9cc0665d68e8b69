"""A replay for people at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankd.replay.policies.by_name import POLICIES
from rankd.replay.report.descriptions import describe_engine, describe_scores, describe_trace
from rankd.replay.report.metrics import PolicyFigures
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import DurationUnit, change, in_percent, quarter_name, share_kept
from rankd.replay.report.verdict import verdict
from rankd.replay.report.who_pays import GroupTable, compared_policies, who_pays


def describe_policies() -> RenderableType:
    """Names and what they mean."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, meaning in POLICIES.items():
        table.add_row(Text(name, style="bold"), meaning)
    return table


def view(report: ReplayReport) -> RenderableType:
    """The recommendation, the front, who pays, and a line of figures for every policy."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("trace", describe_trace(report))
    facts.add_row("engine", describe_engine(report))
    facts.add_row("scores", describe_scores(report))
    for note in report.plan.notes:
        facts.add_row("note", note)
    first, *more = verdict(report).sentences
    reasons = Table.grid(padding=(0, 1))
    for sentence in more:
        reasons.add_row("-", Text(sentence))
    parts: list[RenderableType] = [Text(first, style="bold"), reasons, "", facts, "", _front(report)]
    for table in who_pays(report):
        parts += ["", _groups(report, table)]
    return Group(*parts, "", _policies(report))


def _front(report: ReplayReport) -> Table:
    """Ratios to arrival order; less is better."""
    burst = report.facts.load is None
    has_target = report.plan.target is not None
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("of arrival order's", no_wrap=True)
    names = (
        "mean",
        "first token",
        "/token p90",
        "p99",
        "max",
        *(("all done",) if burst else ()),
        *(("in target",) if has_target else ()),
    )
    for column in names:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("who pays most, mean", no_wrap=True)
    table.add_column("")
    for p in report.front:
        kept = "-" if p.slo_share is None else share_kept(p.slo_share)
        worst = f"{change(p.worst_quarter.mean)} {quarter_name(p.worst_quarter.name, p.worst_quarter.by)}"
        ratios = (p.mean, p.first_token, p.per_token_p90, p.p99, p.max, *((p.makespan,) if burst else ()))
        table.add_row(
            Text(p.policy, style="bold" if p.policy == report.own else ""),
            *map(in_percent, ratios),
            *((kept,) if has_target else ()),
            "" if p.policy == "fcfs" else worst,
            Text("" if p.dominated_by is None else f"{p.dominated_by} is better", style="dim"),
        )
    return table


def _policies(report: ReplayReport) -> Table:
    unit, fcfs = DurationUnit(report.steps), report.of("fcfs")
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("policy", no_wrap=True)
    for column in ("mean", "", "p50", "p90", "p99", "", "max", "/token", "first token", "gain", "trust"):
        table.add_column(column, justify="right", no_wrap=True)
    for f in report.shown:
        table.add_row(
            Text(f.policy, style="bold" if f.policy == report.own else ""),
            unit.bare(f.latency.mean),
            _change(f.latency.mean, fcfs.latency.mean, f),
            unit.bare(f.latency.p50),
            unit.bare(f.latency.p90),
            unit.bare(f.latency.p99),
            _change(f.latency.p99, fcfs.latency.p99, f),
            unit.bare(f.latency.max),
            unit.bare(f.per_token.mean),
            unit.bare(f.first_token.mean),
            "-" if f.gain is None else f"{f.gain:z.0%}",
            "-" if f.trust is None else f"{f.trust:.2f}",
        )
    return table


def _change(value: float, before: float, f: PolicyFigures) -> str:
    return "" if f.policy == "fcfs" else f"{value / before - 1:+z.0%}"


def _groups(report: ReplayReport, groups: GroupTable) -> Table:
    """Change of the mean latency of each group, under every objective."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(f"mean by {groups.by}", overflow="fold")
    table.add_column("requests", justify="right", no_wrap=True)
    for name in compared_policies(report):
        table.add_column(Text(name, style="bold" if name == report.own else ""), justify="right", no_wrap=True)
    for row in groups.rows:
        table.add_row(Text(row.name), f"{row.requests:,}", *map(change, row.ratios))
    if groups.left_out:
        table.add_row(Text(f"and {groups.left_out:,} smaller ones", style="dim"))
    return table
