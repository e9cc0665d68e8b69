"""The pictures of a verdict: gain curve, length along the order, calibration, and tau by source, model and script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rankd.html.svg import Plot, linear_scale, log_scale, percent_scale, token_scale
from rankd.quality.statistics.interval import Interval
from rankd.training.evaluation.curves import Band, CalibrationQuality, GainCurve
from rankd.training.evaluation.figures import EvaluationFigures
from rankd.training.evaluation.prequential import AdaptPoint

MOST_LINES = 40
"""Lines of a dot plot; the JSON has them all."""


def gain_picture(curve: GainCurve) -> str:
    """Share of the work done against share of requests served."""
    plot = Plot(
        percent_scale(),
        percent_scale(),
        "share of the requests served",
        "share of all tokens written",
        "Share of all tokens written against share of requests served, in chance, ranked and perfect order",
    )
    served = curve.served.tolist()
    chance = list(zip(served, served, strict=True))
    ranker = list(zip(served, curve.ranker.tolist(), strict=True))
    oracle = list(zip(served, curve.oracle.tolist(), strict=True))
    plot.area(chance, oracle, "fill-oracle")
    plot.area(chance, ranker, "fill-ranker")
    plot.line(chance, "line-chance")
    plot.line(oracle, "line-oracle")
    plot.line(ranker, "line-ranker")
    return plot.svg()


def length_picture(bands: Sequence[Band]) -> str:
    """Quantiles of true length along the ranker's order."""
    lengths = [max(1.0, tokens) for band in bands for tokens in band.tokens]
    plot = Plot(
        percent_scale(),
        token_scale(lengths),
        "place in the ranker's order, first served to last",
        "tokens of the answer (log)",
        "Quantiles of the answer's length along the ranker's order",
    )
    p10, p25, p50, p75, p90 = ([(b.place, b.tokens[i]) for b in bands] for i in range(5))
    plot.area(p90, p10, "fill-ranker")
    plot.area(p75, p25, "fill-ranker")
    plot.line(p50, "line-ranker")
    if len(bands) == 1:
        plot.dots(p50, "dot-ranker")
    return plot.svg()


def calibration_picture(quality: CalibrationQuality) -> str:
    """Mean true against expected length, a dot for every bin."""
    points = [(max(1.0, b.expected), max(1.0, b.actual)) for b in quality.bins]
    scale = token_scale([v for point in points for v in point])
    plot = Plot(
        scale,
        scale,
        "expected tokens (log)",
        "mean true tokens (log)",
        "Mean true length against expected length, by bins of expected length",
    )
    plot.line([(scale.low, scale.low), (scale.high, scale.high)], "line-chance")
    plot.line(points, "line-ranker thin")
    plot.dots(points, "dot-ranker")
    return plot.svg()


def learning_picture(points: Sequence[AdaptPoint]) -> str:
    """Tau of the ranker alone and of what was learned, against completions seen; the band is the difference's."""
    seen = [(p.completions, p.base_tau.value, p) for p in points if p.base_tau is not None]
    base = [(float(n), tau) for n, tau, _ in seen]
    learned = [(float(n), p.adapted_tau.value) for n, _, p in seen if p.adapted_tau is not None]
    band = [(n, tau, p.difference) for n, tau, p in seen if p.difference is not None]
    upper = [(float(n), tau + d.high) for n, tau, d in band]
    lower = [(float(n), tau + d.low) for n, tau, d in band]
    taus = [tau for _, tau in [*base, *learned, *upper, *lower]]
    low, high = min([0.0, *taus]), min(max([0.5, *taus]) * 1.05, 1.0)
    plot = Plot(
        log_scale([float(n) for n, _, _ in seen], least=1.0),
        linear_scale(low, high, lambda v: f"{v:.1f}"),
        "completions seen (log)",
        "tau of the next 500",
        "Tau of the ranker alone and of what was learned, against completions seen",
    )
    plot.area(upper, lower, "fill-ranker")
    plot.line(base, "line-oracle")
    plot.line(learned, "line-ranker")
    plot.dots(base, "dot-oracle")
    plot.dots(learned, "dot-ranker")
    return plot.svg()


def dot_plot(lines: Sequence[EvaluationFigures]) -> str:
    """Tau of every line with its interval, against its ceiling where there is one."""
    shown = [f for f in lines if f.tau is not None][:MOST_LINES]
    ends = [0.0, *(f.tau.low for f in shown if f.tau)]
    low, high = min(ends) - (0.02 if min(ends) < 0 else 0.0), 1.0
    rows = "".join(_dot_line(f, f.tau, low, high) for f in shown if f.tau)
    ticks = [t / 5 for t in range(-5, 6) if low <= t / 5 <= high]
    axis = "".join(
        f'<text class="tick" x="{_across(t, low, high)}" y="13" text-anchor="{_anchor(t, high)}">{t:.1f}</text>'
        for t in ticks
    )
    hidden = len(lines) - len(shown)
    note = f'<p class="note">{hidden:,} more with fewer rows are in the JSON.</p>' if hidden else ""
    head = f'<div class="dot-line axis-line"><span></span><svg height="18">{axis}</svg><span></span></div>'
    return f'<div class="dots">{head}{rows}</div>{note}'


def _anchor(tick: float, high: float) -> str:
    return "end" if tick >= high else "middle"


def _across(value: float, low: float, high: float) -> str:
    return f"{(min(max(value, low), high) - low) / (high - low):.2%}"


def _dot_line(f: EvaluationFigures, tau: Interval, low: float, high: float) -> str:
    name = escape(f.name).replace("__", " \N{MIDDLE DOT} ")  # so that it can break
    zero, left, right = (_across(value, low, high) for value in (0.0, tau.low, tau.high))
    ceiling = ""
    if f.ceiling is not None:
        at = _across(f.ceiling.tau, low, high)
        ceiling = f'<line class="mark-ceiling" x1="{at}" x2="{at}" y1="3" y2="19"/>'
    return (
        f'<div class="dot-line"><span class="name" title="{escape(f.name)}">{name or "unnamed"}</span>'
        f'<svg height="22" role="img" aria-label="tau {tau.value:.3f}">'
        f'<line class="track" x1="0" x2="100%" y1="11" y2="11"/>'
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="4" y2="18"/>'
        f'<line class="whisker" x1="{left}" x2="{right}" y1="11" y2="11"/>'
        f'{ceiling}<circle class="dot-ranker" cx="{_across(tau.value, low, high)}" cy="11" r="4.5"/></svg>'
        f'<span class="value">{tau.value:.3f}<small>{f.rows:,} rows</small></span></div>'
    )
