"""Just enough of SVG for the pictures of a page: a frame with two scales, lines, areas and dots.

Colours come from the page's style sheet by class, so that one drawing serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 12, 56
"""Room for labels, which are larger on a phone."""
_MOST_TICKS = 6

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to a share of the axis, 0 to 1."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]
    label: Callable[[float], str]

    def __call__(self, value: float) -> float:
        """The share of the axis; values beyond an end are put at it."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def percent_scale() -> Scale:
    """From 0 to 1, in per cent."""
    return Scale(0.0, 1.0, log=False, ticks=(0.0, 0.25, 0.5, 0.75, 1.0), label=lambda v: f"{100 * v:.0f} %")


def token_scale(values: Sequence[float]) -> Scale:
    """A logarithmic scale around values of at least one token."""
    return log_scale([max(1.0, v) for v in values], least=1.0)


def log_scale(values: Sequence[float], *, least: float, label: Callable[[float], str] | None = None) -> Scale:
    """A logarithmic scale around values above 0; those below ``least`` count as that."""
    low, high = max(least, min(values)), max(least, *values)
    low, high = low / 1.15, max(high, low * 2) * 1.15
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    return Scale(low, high, log=True, ticks=tuple(ticks), label=label or (lambda v: f"{v:,.0f}"))


def linear_scale(low: float, high: float, label: Callable[[float], str]) -> Scale:
    """A linear scale with round ticks."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    step = next(s * step for s in (0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / (s * step) <= _MOST_TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, log=False, ticks=tuple(step * k for k in range(first, last + 1)), label=label)


@dataclass(slots=True)
class Plot:
    """One drawing, built up from the back to the front."""

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    title: str
    """What it shows, for those who cannot see it."""
    _parts: list[str] = field(default_factory=list)

    def line(self, points: Sequence[Point], style: str) -> None:
        """Join points."""
        self._parts.append(f'<polyline class="{style}" points="{self._points(points)}"/>')

    def area(self, upper: Sequence[Point], lower: Sequence[Point], style: str) -> None:
        """Fill what lies between two lines."""
        self._parts.append(f'<polygon class="{style}" points="{self._points([*upper, *reversed(lower)])}"/>')

    def dots(self, points: Sequence[Point], style: str, radius: float = 4.5) -> None:
        """Put a dot at every point."""
        for point in points:
            x, y = self.place(point)
            self._parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')

    def text(self, style: str, x: float, y: float, text: str, anchor: str = "middle") -> None:
        """Write at a place of the drawing."""
        self._parts.append(_text(style, x, y, text, anchor))

    def place(self, point: Point) -> Point:
        """Where a point is in the drawing."""
        across, up = self.x(point[0]), self.y(point[1])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    @staticmethod
    def holds(left: float, top: float, right: float, bottom: float) -> bool:
        """Whether a box of the drawing lies within the frame."""
        return left >= LEFT and right <= WIDTH and top >= 0 and bottom <= HEIGHT - BOTTOM

    def svg(self) -> str:
        """The drawing."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">'
            + "".join(self._axes())
            + "".join(self._parts)
            + "</svg>"
        )

    def _axes(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for value in self.y.ticks:
            _, y = self.place((self.x.low, value))
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text("tick", LEFT - 8, y + 4.5, self.y.label(value), "end"))
        for value in self.x.ticks:
            x, _ = self.place((value, self.y.low))
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(_text("tick", x, bottom + 19, self.x.label(value)))
        parts.append(_text("axis", (LEFT + right) / 2, HEIGHT - 9, self.x_title))
        turned = _text("axis", 0, 0, self.y_title)
        parts.append(f'<g transform="translate(15 {(TOP + bottom) / 2}) rotate(-90)">{turned}</g>')
        return parts

    def _points(self, points: Sequence[Point]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, points))


def _text(style: str, x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
