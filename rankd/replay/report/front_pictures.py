"""Pictures of the front: the 99th percentile against what the average request gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankd.html.svg import Plot, Point, Scale, linear_scale
from rankd.replay.report.front import FrontPoint, dominating
from rankd.replay.report.report import ReplayReport

_BEYOND = 1.25
"""What lies beyond this multiple of the daemon's own objectives is put at the edge, with its figure written to it."""
_CHARACTER, _LINE = 7.6, 15.0
"""Width of a character and height of a line of a label, in the units of the drawing."""
_AWAY = 9.0
"""Of a label from its dot."""


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def front_picture(report: ReplayReport, figure: str, title: str) -> str:
    """p99 against another figure, both as ratios to arrival order; what another policy does better in both is hollow.

    Args:
        report: the replay.
        figure: a field of ``FrontPoint``: ``mean``, ``first_token`` or ``per_token_p90``.
        title: of its axis.
    """
    places = {p.policy: (getattr(p, figure), p.p99) for p in report.front}
    kept = [places[p.policy] for p in report.front if p.objective is not None or p.policy == report.own]
    plot = Plot(
        _ratios([x for x, _ in places.values()], [x for x, _ in kept]),
        _ratios([y for _, y in places.values()], [y for _, y in kept]),
        title,
        "p99 of E2E latency, share of arrival order's",
        f"{title}, against the 99th percentile of latency, for every policy: the lower left is better",
    )
    plot.line([(1.0, plot.y.low), (1.0, plot.y.high)], "line-chance")
    plot.line([(plot.x.low, 1.0), (plot.x.high, 1.0)], "line-chance")
    plot.line(_edge(report.front, figure), "line-ranker thin")
    for point in report.front:
        own = "dot-ranker" if point.objective is not None or point.policy == report.own else "dot-oracle"
        hollow = " hollow" if point.possible and dominating(point, report.front, figure, "p99") else ""
        plot.dots([places[point.policy]], own + hollow, 5.5)
    _label(plot, places)
    return plot.svg()


def _edge(front: Sequence[FrontPoint], figure: str) -> list[Point]:
    """Those that no other policy dominates, from left to right."""
    best = [p for p in front if p.possible and dominating(p, front, figure, "p99") is None]
    return sorted((getattr(p, figure), p.p99) for p in best)


def _ratios(values: Sequence[float], kept: Sequence[float]) -> Scale:
    """A scale for all values, but for those far beyond what is to be seen in any case."""
    most = _BEYOND * max(*kept, 1.0)
    low, high = min(*values, 1.0), max(1.0, *(v for v in values if v <= most), min(most, max(values)))
    room = max(0.08 * (high - low), 0.02)
    return linear_scale(max(low - room, 0.0), high + room, lambda v: f"{100 * v:.0f} %")


def _label(plot: Plot, places: dict[str, Point]) -> None:
    """Write names beside their dots where there is room, the leftmost first."""
    dots = {name: plot.place(point) for name, point in places.items()}
    taken = [_Box(x - 6, y - 6, x + 6, y + 6) for x, y in dots.values()]
    for name, (x, y) in sorted(dots.items(), key=lambda found: found[1]):
        across, up = places[name]
        beyond = [f"{100 * v:,.0f} %" for v, scale in ((across, plot.x), (up, plot.y)) if v > scale.high]
        text = f"{name} ({', '.join(beyond)})" if beyond else name
        label, box = _free(text, x, y, taken)
        taken.append(box)
        plot.text("label", *label, text, "start")


def _free(name: str, x: float, y: float, taken: Sequence[_Box]) -> tuple[Point, _Box]:
    """Where a label goes: its beginning on the baseline, and what it covers."""
    width = _CHARACTER * len(name)
    sides = [(x + _AWAY, y), (x - _AWAY - width, y)]
    tries = [*sides, *((x - width / 2, y + s * _LINE) for s in (-1, 1))]
    tries += [(at, y + s * _LINE) for s in (-1, 1, -2, 2, -3, 3) for at, _ in sides]
    fallback = None
    for left, middle in tries:
        box = _Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
        if not Plot.holds(box.left, box.top, box.right, box.bottom):
            continue
        fallback = fallback or box
        if not any(box.meets(other) for other in taken):
            return (box.left, middle + 4.5), box
    box = fallback or _Box(x, y - _LINE / 2, x + width, y + _LINE / 2)
    return (box.left, (box.top + box.bottom) / 2 + 4.5), box
