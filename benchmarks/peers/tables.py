"""What is printed at the end, ready for a page of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.policies.results import markdown

_DASH = "\N{EN DASH}"


def tables(results: dict[str, Any], loads: Sequence[str]) -> str:
    """Rates, times and shares by peer and load, and how each peer was set."""
    found = results["figures"]
    parts = ["Prompts/s, median (lowest to highest) of rounds:", _table(found, loads, _rate)]
    parts += ["ms of a request, p50 / p99:", _table(found, loads, _times)]
    parts += ["Cores used, server + generator:", _table(found, loads, _cores)]
    parts.append("\n".join(f"- {name}: {text}" for name, text in results["settings"].items()))
    if results["agreement"]:
        same = ", ".join(f"{name} {value:.4f}" for name, value in results["agreement"].items())
        parts.append(f"Cosine of vectors with those of {results['reference']}, lowest: {same}.")
    parts += [f"**{name} was not measured:** {why}" for name, why in results["failures"].items()]
    return "\n\n".join(parts)


def _table(found: dict[str, Any], loads: Sequence[str], cell: Any) -> str:
    rows = [
        [name, *(cell(by_load[load]) if load in by_load else _DASH for load in loads)]
        for name, by_load in found.items()
    ]
    return markdown(["", *loads], rows)


def _rate(figures: dict[str, Any]) -> str:
    rates = figures["prompts_per_second"]
    return f"{_short(rates['median'])} ({_short(rates['min'])}{_DASH}{_short(rates['max'])})"


def _times(figures: dict[str, Any]) -> str:
    times = figures["request_ms"]
    return f"{_short(times['p50'])} / {_short(times['p99'])}"


def _cores(figures: dict[str, Any]) -> str:
    return f"{figures['cores_of_server']:.2f} + {figures['cores_of_generator']:.2f}"


def _short(value: float) -> str:
    """Three figures, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
