"""What the runs of the study gave, found by what was run, as ratios to arrival order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
FIGURES = ("mean", "p50", "p90", "p99", "max", "first", "token")


class StudyRows:
    """Rows of runs."""

    def __init__(self, rows: Rows) -> None:
        """Take the rows."""
        self._found = {(r["engine"], r["trace"], r["load"], r["tau"], r["policy"]): r for r in rows}
        self.engines = [e for e in ("model", "steps", "untold") if any(r["engine"] == e for r in rows)]
        self.traces = sorted({r["trace"] for r in rows})
        self.policies = list(dict.fromkeys(r["policy"] for r in rows))
        self.taus = sorted({r["tau"] for r in rows if r["tau"] is not None})

    def loads(self, engine: str) -> list[float]:
        """Loads that were replayed on an engine, of all traces alike."""
        loads = sorted({key[2] for key in self._found if key[0] == engine})
        return [x for x in loads if all((engine, t, x, None, "fcfs") in self._found for t in self.traces)]

    def row(self, engine: str, trace: str, load: float, tau: float | None, policy: str) -> dict[str, Any] | None:
        """One run; None where it was not done. Policies without scores are of every tau."""
        return self._found.get((engine, trace, load, tau, policy)) or self._found.get(
            (engine, trace, load, None, policy)
        )

    def ratio(self, engine: str, trace: str, load: float, tau: float, policy: str, figure: str) -> float:
        """A figure over arrival order's; NaN where a run is missing."""
        return self.between(engine, trace, load, tau, policy, "fcfs", figure)

    def between(self, engine: str, trace: str, load: float, tau: float, policy: str, other: str, figure: str) -> float:
        """A figure over that of another policy; NaN where a run is missing."""
        rows = [self.row(engine, trace, load, tau, p) for p in (policy, other)]
        if rows[0] is None or rows[1] is None:
            return float("nan")
        return float(rows[0][figure] / rows[1][figure])

    def ratios(self, engine: str, load: float, tau: float, policy: str, figure: str) -> list[float]:
        """A figure over arrival order's, of every trace that has it."""
        found = (self.ratio(engine, t, load, tau, policy, figure) for t in self.traces)
        return [value for value in found if not np.isnan(value)]

    def median(self, engine: str, load: float, tau: float, policy: str, figure: str) -> float:
        """The median over the traces; NaN where there is none."""
        values = self.ratios(engine, load, tau, policy, figure)
        return float(np.median(values)) if values else float("nan")

    def quarters(self, engine: str, load: float, tau: float, policy: str, by: str) -> list[float]:
        """Medians over the traces of the mean latency of each quarter (``outputs`` or ``prompts``) over its own."""
        medians = []
        for quarter in range(4):
            values = []
            for trace in self.traces:
                rows = [self.row(engine, trace, load, tau, p) for p in (policy, "fcfs")]
                if rows[0] is not None and rows[1] is not None and rows[1][by][quarter]:
                    values.append(rows[0][by][quarter] / rows[1][by][quarter])
            medians.append(float(np.median(values)) if values else float("nan"))
        return medians


def number(value: float, digits: int = 2) -> str:
    """As tables have it: .87, 1.04; a dash where there is none."""
    if np.isnan(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
