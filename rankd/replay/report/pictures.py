"""The pictures of a replay: how latencies spread, what a better ranker would buy, and from which load on it pays."""

from __future__ import annotations

import numpy as np

from rankd.html.svg import Plot, Point, Scale, linear_scale, log_scale, percent_scale
from rankd.replay.report.metrics import latency
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.sweep import LoadSweep, TauSweep
from rankd.replay.report.units import DurationUnit
from rankd.replay.trace.trace import Floats

_POINTS = 120
_TAIL = 1e-3
"""Smallest share of the requests that the picture of the tail goes down to."""


def latency_picture(report: ReplayReport) -> str:
    """Share of the requests that are done within a time."""
    plot = Plot(
        _seconds(report, [v for policy, _ in _lines(report) for v in _quantiles(report, policy, 0.005, 0.995)]),
        percent_scale(),
        "latency (log)",
        "share of the requests that are done",
        "Share of the requests done within a latency, in arrival order, ranked, and with true lengths",
    )
    for policy, style in _lines(report):
        values = latency(report.replayed[policy])
        shares = np.linspace(0.005, 0.995, _POINTS)
        plot.line(list(zip(np.quantile(values, shares).tolist(), shares.tolist(), strict=True)), style)
    return plot.svg()


def tail_picture(report: ReplayReport) -> str:
    """Latency of the slowest ones: share of the requests that take longer."""
    n = report.facts.requests
    least = max(_TAIL, 1.0 / n)
    plot = Plot(
        _seconds(report, [v for policy, _ in _lines(report) for v in _quantiles(report, policy, 0.5, 1 - least)]),
        log_scale([least, 0.5], least=least, label=lambda v: f"{100 * v:g} %"),
        "latency (log)",
        "share of the requests that take longer (log)",
        "Share of the requests that take longer than a latency, in arrival order, ranked, and with true lengths",
    )
    for policy, style in _lines(report):
        shares = np.geomspace(least, 0.5, _POINTS)
        values = np.quantile(latency(report.replayed[policy]), 1 - shares)
        plot.line(list(zip(values.tolist(), shares.tolist(), strict=True)), style)
    return plot.svg()


def tau_picture(sweep: TauSweep) -> str:
    """Mean latency, and that per token, against the quality of the ranker."""
    curves: list[tuple[list[Point], str]] = []
    for name, style in (("mean", "line-ranker"), ("per_token", "line-oracle"), ("p99", "line-chance")):
        base = getattr(sweep.fcfs, name)
        curves.append(([(p.tau, getattr(p, name) / base) for p in sweep.points], style))
    top = max(1.05, *(y for points, _ in curves for _, y in points))
    plot = Plot(
        linear_scale(min(p.tau for p in sweep.points), 1.0, lambda v: f"{v:.1f}"),
        linear_scale(0.0, top * 1.03, lambda v: f"{100 * v:.0f} %"),
        "Kendall's tau of the ranker",
        "of what arrival order takes",
        "Mean latency, latency per token and 99th percentile against the ranker's tau, as shares of arrival order's",
    )
    for points, style in curves:
        plot.line(points, style)
        plot.dots(points, "dot-ranker" if style == "line-ranker" else "dot-oracle", 3.5)
    return plot.svg()


def load_picture(sweep: LoadSweep, report: ReplayReport) -> str:
    """Mean latency against load."""
    values = [v for p in sweep.points for v in (p.fcfs, p.mean, p.oracle)]
    plot = Plot(
        linear_scale(sweep.points[0].load, sweep.points[-1].load, lambda v: f"{100 * v:.0f} %"),
        _seconds(report, values),
        "offered load, of what the engine can do",
        "mean latency (log)",
        "Mean latency against load, in arrival order, ranked, and with true lengths",
    )
    if sweep.pays_from is not None:
        plot.line([(sweep.pays_from, plot.y.low), (sweep.pays_from, plot.y.high)], "line-mark")
    plot.line([(p.load, p.fcfs) for p in sweep.points], "line-chance")
    plot.line([(p.load, p.oracle) for p in sweep.points], "line-oracle")
    ranked = [(p.load, p.mean) for p in sweep.points]
    plot.line(ranked, "line-ranker")
    plot.dots(ranked, "dot-ranker", 3.5)
    return plot.svg()


def _lines(report: ReplayReport) -> list[tuple[str, str]]:
    return [("fcfs", "line-chance"), ("oracle", "line-oracle"), (report.policy, "line-ranker")]


def _quantiles(report: ReplayReport, policy: str, low: float, high: float) -> list[float]:
    values: Floats = latency(report.replayed[policy])
    return [float(v) for v in np.quantile(values, (low, high))]


def _seconds(report: ReplayReport, values: list[float]) -> Scale:
    unit = DurationUnit(report.steps)
    return log_scale(values, least=max(min(values), 1e-9), label=lambda v: _short(unit(v)))


def _short(text: str) -> str:
    """Without zeros that a tick does not need."""
    number, _, unit = text.partition(" ")
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return number if unit == "steps" else f"{number} {unit}"
