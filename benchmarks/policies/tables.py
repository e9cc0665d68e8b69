"""Tables of the study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
_SHOWN = {
    "boost": "boost (default)",
    "due": "due",
    "aged": "aged, exponent 1 (HRRN)",
    "aged:4": "aged, exponent 4",
    "score": "score",
    "score-cap": "score, wait cap 1 drain time",
    "paper": "the paper's: score and its starvation rule, no guard",
    "unaware": "no predictions: boost by tokens so far, preemptive",
    "oracle-boost": "boost with true lengths",
    "oracle": "score with true lengths",
}


def report(rows: Rows, requests: int, slots: int) -> str:
    """All tables."""
    find = {(r["trace"], r["load"], r["tau"], r["policy"]): r for r in rows}
    traces = sorted({r["trace"] for r in rows})
    loads = sorted({r["load"] for r in rows})
    taus = sorted({r["tau"] for r in rows if r["tau"] is not None})
    parts = [
        (
            f"{len(traces)} traces, first {requests:,} requests of each, {slots} slots, a token a step; all figures "
            "are relative to arrival order's (gain: to that of shortest-first with true lengths)."
        ),
        "### Policies at load .95 and tau .55, median (worst) over the traces",
        policies(find, traces, 0.95, 0.55),
        "### The default, trace by trace, at load .95 and tau .55",
        bar(find, traces),
        "### The default by load, tau .55, median (worst) over the traces",
        by_load(find, traces, loads, 0.55),
        "### The default by quality, load .95, requests that came after 500 completions, median (worst)",
        by_quality(find, traces, taus, 0.95),
    ]
    return "\n\n".join(parts) + "\n"


def ratios(find: dict[Any, Any], trace: str, load: float, tau: float | None, policy: str, later: str = "") -> Any:
    """A run's figures over those of arrival order; None where a run is missing."""
    row = find.get((trace, load, tau, policy)) or find.get((trace, load, None, policy))
    fcfs, oracle = find.get((trace, load, None, "fcfs")), find.get((trace, load, None, "oracle"))
    if row is None or fcfs is None or oracle is None:
        return None
    out = {k: row[later + k] / fcfs[later + k] for k in ("mean", "p50", "p90", "p99", "max")}
    room = fcfs[later + "mean"] - oracle[later + "mean"]
    # Where next to nothing can be gained a share of it is noise.
    out["gain"] = (fcfs[later + "mean"] - row[later + "mean"]) / room if room > 0.01 * fcfs[later + "mean"] else np.nan
    return out


def policies(find: dict[Any, Any], traces: Iterable[str], load: float, tau: float) -> str:
    """A row per policy."""
    lines = ["| policy | gain | mean | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    for policy, name in _SHOWN.items():
        found = [f for t in traces if (f := ratios(find, t, load, tau, policy))]
        lines.append(f"| {name} | " + " | ".join(_cell(found, k) for k in _COLUMNS) + " |")
    return "\n".join(lines)


_COLUMNS = ("gain", "mean", "p50", "p90", "p99", "max")


def _cell(found: list[dict[str, float]], name: str) -> str:
    values = np.array([f[name] for f in found])
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    worst = values.min() if name == "gain" else values.max()
    return f"{_short(float(np.median(values)))} ({_short(float(worst))})"


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def bar(find: dict[Any, Any], traces: Iterable[str]) -> str:
    """The default against itself with true lengths and the same tail."""
    lines = [
        "| trace | requests that wait | gain | p90 | p99 | max | gain of true lengths at this p99 | share of it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for trace in traces:
        row, fcfs = find.get((trace, 0.95, 0.55, "boost")), find.get((trace, 0.95, None, "fcfs"))
        found = ratios(find, trace, 0.95, 0.55, "boost")
        if row is None or fcfs is None or found is None:
            continue
        same = row.get("same_tail") or {}
        share = (fcfs["mean"] - row["mean"]) / (fcfs["mean"] - same["mean"]) if same else np.nan
        best = found["gain"] / share if share else np.nan
        lines.append(
            f"| {trace} | {fcfs['waits']:.0%} | {_short(found['gain'])} | {_short(found['p90'])} | "
            f"{_short(found['p99'])} | {_short(found['max'])} | {_short(best)} | {share:.0%} |"
        )
    return "\n".join(lines)


def by_load(find: dict[Any, Any], traces: Iterable[str], loads: Iterable[float], tau: float) -> str:
    """A row per load."""
    lines = ["| load | gain | mean | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    for load in loads:
        found = [f for t in traces if (f := ratios(find, t, load, tau, "boost"))]
        lines.append(f"| {load:g} | " + " | ".join(_cell(found, k) for k in _COLUMNS) + " |")
    return "\n".join(lines)


def by_quality(find: dict[Any, Any], traces: Iterable[str], taus: Iterable[float], load: float) -> str:
    """A row per tau."""
    lines = ["| tau | gain | mean | p50 | p90 | p99 | max |", "|---|---|---|---|---|---|---|"]
    for tau in taus:
        found = [f for t in traces if (f := ratios(find, t, load, tau, "boost", "later_"))]
        lines.append(f"| {tau:g} | " + " | ".join(_cell(found, k) for k in _COLUMNS) + " |")
    return "\n".join(lines)
