"""What ranking saved, as ``rankd status`` says it: a headline that is true beside a pilot, figures, who paid."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from rankd_client import Estimate, PilotInForce, QualityReport, Savings
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankd.text import printable

MEASURES = {"end_to_end": "E2E latency", "first_token": "TTFT", "per_token": "time per output token"}
_STYLES = {"gains": "bold green", "loses": "bold red", "falls_back": "bold yellow", "idle": "dim", "no_gain": "bold"}
_PRESENT = ("gains", "no_gain", "loses")
"""States that speak of the present, and have figures."""
_UNITS = (
    (0.000_95, 1e-6, "µs", 0),
    (0.95, 1e-3, "ms", 1),
    (90.0, 1.0, "s", 1),
    (5400.0, 60.0, "min", 0),
    (172_800.0, 3600.0, "h", 1),
    (math.inf, 86_400.0, "days", 0),
)
"""Below how many seconds, a unit's seconds, its name, and digits behind the point of small figures."""
_SMALL = 9.5
_SOONER, _LESS = ("sooner", "later"), ("less", "more")
_NOTHING = "What ranking saves is not known: no completion was reported yet\n"


def saved(report: QualityReport) -> RenderableType | None:
    """What ranking did to each served model's traffic; None of a daemon that does not say, though it has reports."""
    if not report.savings and not report.pilots:
        return None if report.qualities and any(q.completions for q in report.qualities) else Text(_NOTHING)
    pilots = {pilot.model: pilot for pilot in report.pilots}
    parts: list[RenderableType] = []
    for one in report.savings:
        title, style = headline(one, pilots.get(one.model))
        name = f"{printable(one.model)}: " if one.model and len(report.savings) > 1 else ""
        parts.append(Text(f"{name}{title}", style=style))
        parts.extend(Text(line) for line in _lines(one, pilots.get(one.model)))
        if one.latencies:
            parts.append(_figures(one))
        if one.payers:
            parts.append(_payers(one))
        parts.append(Text(""))
    return Group(*parts)


def headline(savings: Savings, pilot: PilotInForce | None = None) -> tuple[str, str]:
    """The state in a sentence, and its style. What a pilot surely found worse goes first."""
    title, style = _state(savings)
    if pilot is None or pilot.shadow or not _recent(savings, pilot):
        return title, style
    worse = sorted((r for r in pilot.ratios if r.ratio.low > 1), key=lambda r: -r.ratio.value)
    when = "Pilot under way" if pilot.running else "Pilot ended"
    if worse:
        worst, control = worse[0], pilot.control.value
        return (
            f"{when}: {worst.statistic} of E2E latency is {worst.ratio.value:.2f} times that of {control}",
            "bold red",
        )
    if not pilot.running:
        return title, style
    return f"{when}. {title}", style if savings.state == "loses" else "bold"


def _recent(savings: Savings, pilot: PilotInForce) -> bool:
    """Whether a pilot has to do with what the figures rest on."""
    return pilot.running or savings.from_time is None or pilot.ends_at >= savings.from_time


def _state(savings: Savings) -> tuple[str, str]:
    mean, worst = savings.latency(), savings.latency("end_to_end", "p99")
    style = _STYLES.get(savings.state, "bold")
    if savings.state == "idle":
        last = savings.last_completion_at
        since = f"for {duration(time.time() - last)}" if last is not None else "of late"
        return f"Idle: no completion {since}, so nothing is claimed of the present", style
    if savings.state in _PRESENT and mean is not None:
        if savings.state == "no_gain":
            low, high = _directed(mean.saved_seconds.low, _SOONER), _directed(mean.saved_seconds.high, _SOONER)
            return f"No sure gain: requests end between {low} and {high} on average than in arrival order", style
        title = f"Requests end {saving(mean.saved_seconds, _SOONER)} on average than in arrival order"
        if worst is not None and not worst.saved_seconds.low <= 0 <= worst.saved_seconds.high:
            title += f", the slowest 1 % {_directed(worst.saved_seconds.value, _SOONER)}"
        return title, style
    says = {
        "learning": _learning(savings.completions),
        "no_queue": "No queue: hardly any request waits for another, there is nothing to gain",
        "falls_back": "Arrival order: requests are served as they come, for the reason below",
    }
    return says.get(savings.state, f"{savings.state.replace('_', ' ')}: what ranking saves is not known"), style


def _learning(completions: int) -> str:
    """Why nothing is known yet; ``completions`` are those whose times are known."""
    if completions == 0:
        return "Learning what ranking saves: no completion since the start says how long it waited and took"
    return f"Learning what ranking saves: too few of {completions:,} completions can be compared with arrival order yet"


def _lines(savings: Savings, pilot: PilotInForce | None) -> Iterator[str]:
    if pilot is not None and not pilot.shadow and _recent(savings, pilot):
        found = (
            ", ".join(f"{r.statistic} {_interval(r.ratio)} times" for r in pilot.ratios) or "no block is measured yet"
        )
        turns = "turn about, so figures below are of both" if pilot.running else "it has ended"
        yield f"pilot: {pilot.treatment.value} against {pilot.control.value}, {turns}; {found}"
    if savings.latencies:
        before = "" if savings.state in (*_PRESENT, "no_queue") else "until the last completion: "
        yield f"{before}{savings.completions:,} completions, {savings.queued_share:.0%} of them had to wait"
        if savings.slower_share > 0:
            later = duration(savings.slower_by_seconds)
            yield f"{savings.slower_share:.0%} of requests ended later than in arrival order, by {later} on average"
        else:
            yield "no request ended later than in arrival order"
    total = savings.total_saved_seconds
    if total is not None and savings.total_since is not None:
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(savings.total_since))
        yield f"since {since}: {saving(total, _LESS)} of latency in all, over {savings.total_completions:,} requests"


def _figures(savings: Savings) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("latency", "observed", "in arrival order", "difference"):
        table.add_column(name, justify="left" if name in {"latency", "difference"} else "right")
    for one in savings.latencies:
        estimate = one.saved_seconds
        style = "green" if estimate.low > 0 else "red" if estimate.high < 0 else ""
        style = style if savings.state in _PRESENT else ""
        what = f"{MEASURES.get(one.measure, one.measure)}, {one.statistic}"
        observed, arrival = duration(one.observed_seconds), duration(one.arrival_order_seconds)
        table.add_row(printable(what), observed, arrival, Text(saving(estimate, _LESS), style=style))
    return table


def _payers(savings: Savings) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("requests by work")
    table.add_column("completions", justify="right")
    table.add_column("E2E latency, mean, against arrival order")
    for payer in savings.payers:
        table.add_row(printable(payer.label), f"{payer.completions:,}", saving(payer.saved_seconds, _LESS))
    return table


def saving(estimate: Estimate, sides: tuple[str, str]) -> str:
    """Saved seconds with their interval, such as "1.8 s sooner (1.2 s to 2.3 s)"."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if low == high:
        return _directed(value, sides)
    if value < 0:
        low, high = -high, -low
    if low >= 0:
        return f"{_directed(value, sides)} ({duration(low)} to {duration(high)})"
    return f"{_directed(value, sides)} ({_directed(estimate.low, sides)} to {_directed(estimate.high, sides)})"


def _directed(seconds: float, sides: tuple[str, str]) -> str:
    return f"{duration(abs(seconds))} {sides[seconds < 0]}"


def _interval(ratio: Estimate) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def duration(seconds: float) -> str:
    """A duration with as many digits as it needs."""
    if seconds <= 0:
        return "0 s"
    unit, name, digits = next((unit, name, digits) for below, unit, name, digits in _UNITS if seconds < below)
    size = seconds / unit
    return f"{size:.{digits if size < _SMALL else 0}f} {name}"
