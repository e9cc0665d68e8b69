"""The cards of the front: what every policy gives and costs as ratios, its pictures, and who pays."""

from __future__ import annotations

from html import escape

from rankd.html.parts import NBSP, card, keys, table
from rankd.replay.report.front import FrontPoint
from rankd.replay.report.front_pictures import front_picture
from rankd.replay.report.recommendation import recommend
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import change, in_percent, quarter_name, share_kept
from rankd.replay.report.who_pays import GroupTable, compared_policies, who_pays

_FIGURES = (
    ("mean", "Mean and p99", "mean E2E latency, share of arrival order's"),
    ("per_token_p90", "Time per output token", "p90 of time per output token, share of arrival order's"),
    ("first_token", "TTFT", "mean TTFT, share of arrival order's"),
)


def front_card(report: ReplayReport) -> str:
    """Every policy as ratios to arrival order."""
    burst = report.facts.load is None
    has_target, chosen = report.plan.target is not None, recommend(report).objective
    columns = ["", "mean", "TTFT, mean", "per token, p90", "p99", "longest", *(["all done"] if burst else [])]
    columns += ["within the target"] if has_target else []
    columns += ["the quarter that pays most", ""]
    rows = []
    for p in report.front:
        name = f"<b>{escape(p.policy)}</b>" if p.policy == chosen else escape(p.policy)
        ratios = (p.mean, p.first_token, p.per_token_p90, p.p99, p.max, *((p.makespan,) if burst else ()))
        kept = () if not has_target else ("" if p.slo_share is None else _spaced(share_kept(p.slo_share)),)
        rows.append((name, *(_spaced(in_percent(r)) for r in ratios), *kept, _worst(p), _mark(report, p, chosen)))
    note = (
        "E2E latency, TTFT and time per output token as shares of arrival order's: below 100 % is better. Another "
        "policy is better if it is no worse in mean and p99, and better in one of them."
    )
    return card("What each objective gives, and what it costs", table(columns, rows), _spaced(note), wide=True)


def picture_cards(report: ReplayReport) -> list[str]:
    """p99 against the mean, per token, and the first token."""
    shown = keys(("bin", "rankd"), ("other", "other methods, true lengths"), ("worse", "another is better"))
    note = (
        "The lower left is better; the dashed lines are arrival order. The line joins those that no other policy "
        "beats, true lengths left out, which nobody has."
    )
    return [card(title, shown + front_picture(report, figure, axis), note) for figure, title, axis in _FIGURES]


def who_pays_card(report: ReplayReport) -> str:
    """Mean latency of groups under every objective."""
    tables = "".join(_group_table(report, groups) for groups in who_pays(report))
    note = (
        "Change of each group's mean E2E latency against arrival order. Short requests gain, long ones pay: the "
        "question is how much."
    )
    return card("Who pays for it", tables, note, wide=True)


def _group_table(report: ReplayReport, groups: GroupTable) -> str:
    chosen = recommend(report).objective
    names = [f"<b>{escape(n)}</b>" if n == chosen else escape(n) for n in compared_policies(report)]
    rows = [(escape(row.name), f"{row.requests:,}", *map(_coloured, row.ratios)) for row in groups.rows]
    if groups.left_out:
        rows.append((f"<small>and {groups.left_out:,} smaller ones</small>", "", *("" for _ in names)))
    return table((f"by {groups.by}", "requests", *names), rows)


def _coloured(ratio: float) -> str:
    style = "less" if ratio < 0.995 else "more-than" if ratio > 1.005 else ""
    text = _spaced(change(ratio))
    return f'<span class="{style}">{text}</span>' if style else text


def _worst(point: FrontPoint) -> str:
    if point.policy == "fcfs":
        return ""
    worst = point.worst_quarter
    return f"{_coloured(worst.mean)} <small>{quarter_name(worst.name, worst.by)}</small>"


def _mark(report: ReplayReport, point: FrontPoint, chosen: str | None) -> str:
    marks = []
    if point.policy == chosen:
        marks.append("recommended")
    if point.policy == report.own:
        marks.append("as configured")
    if point.dominated_by is not None:
        marks.append(f"{escape(point.dominated_by)} is better")
    return f"<small>{', '.join(marks)}</small>"


def _spaced(text: str) -> str:
    return text.replace(" %", f"{NBSP}%")
