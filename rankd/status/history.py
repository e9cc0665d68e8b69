"""What the page shows over time: rows of figures, of a bounded number, for two spans: the last minutes, the last hours.

Rows are written on the event loop and read in the page's thread. A row is packed into bytes and joins its ring in one
step, so that a reader sees all of it or none.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from rankd.clock import CLOCK
from rankd.settings import PageSection

SpanName = Literal["short", "long"]
Key = tuple[str, str]
"""A served model and a ranker version."""

COUNTERS = ("answers", "not_ranked", "items", "unscored", "completions", "progress_reports")
"""Counted since the daemon's start; shown as rates per second, and as shares of these."""
TRAFFIC = ("at", *COUNTERS, "queued_prompts")
_QUALITY = ("tau", "tau_low", "tau_high", "gain", "gain_low", "gain_high", "work_tau", "work_tau_low", "work_tau_high")
_SAVED = ("saved", "saved_low", "saved_high")
WINDOW = ("at", *_QUALITY, "trust", "patience", *_SAVED)
"""Columns of a row; ``at`` is seconds by the daemon's clock. What was unknown is NaN."""


class RowRing:
    """The last rows of some columns, at most ``size`` of them: 8 bytes a value, and 41 a row."""

    def __init__(self, names: Sequence[str], size: int) -> None:
        """Start empty."""
        self._names = names
        self._row = struct.Struct(f"{len(names)}d")
        self._rows: deque[bytes] = deque(maxlen=size)

    def add(self, values: Sequence[float]) -> None:
        """Append a row; the oldest one makes room."""
        self._rows.append(self._row.pack(*values))

    def columns(self) -> dict[str, list[float]]:
        """All rows, by column, the oldest first."""
        rows = [self._row.unpack(row) for row in self._rows.copy()]
        return {name: [row[i] for row in rows] for i, name in enumerate(self._names)}


class HistorySpan:
    """Rows that are ``every`` seconds apart: of the daemon's traffic, and of each window."""

    def __init__(self, every: float, size: int) -> None:
        """Start empty."""
        self.every = every
        self._size = size
        # One row more than points: what came per second takes two.
        self._traffic = RowRing(TRAFFIC, size + 1)
        self._windows: dict[Key, RowRing] = {}
        self._next = -math.inf

    def due(self, now: float) -> bool:
        """Whether it is time for a row; also where the clock was set back."""
        return now >= self._next or now < self._next - self.every

    def add(self, now: float, traffic: Sequence[float], windows: Mapping[Key, Sequence[float]]) -> None:
        """Append a row to everything; a window that is gone is forgotten."""
        self._next = now + self.every
        self._traffic.add((now, *traffic))
        rings = {key: self._windows.get(key) or RowRing(WINDOW, self._size) for key in windows}
        for key, row in windows.items():
            rings[key].add((now, *row))
        self._windows = rings

    def traffic(self) -> dict[str, list[float | None]]:
        """What came between two rows, per second; ``not_ranked_share`` is of the answers, ``unscored_share`` of items.

        ``at`` is by the machine's clock, as it is now. A share is None where there was nothing to have a share of.
        """
        columns = self._traffic.columns()
        seconds = [max(b - a, 1e-3) for a, b in pairwise(columns["at"])]
        came = {name: [b - a for a, b in pairwise(columns[name])] for name in COUNTERS}
        out: dict[str, list[float | None]] = {"at": list(map(CLOCK.to_wall, columns["at"][1:]))}
        for name in ("answers", "items", "completions", "progress_reports"):
            out[f"{name}_per_second"] = [_rounded(n / s) for n, s in zip(came[name], seconds, strict=True)]
        for name, part, whole in (
            ("not_ranked_share", "not_ranked", "answers"),
            ("unscored_share", "unscored", "items"),
        ):
            out[name] = [_rounded(p / w) if w else None for p, w in zip(came[part], came[whole], strict=True)]
        return out | {"queued_prompts": list(columns["queued_prompts"][1:])}

    def window(self, key: Key) -> dict[str, list[float | None]]:
        """A window's rows, ``at`` by the machine's clock; empty columns where it has none."""
        ring = self._windows.get(key)
        columns = ring.columns() if ring is not None else {name: [] for name in WINDOW}
        shown: dict[str, list[float | None]] = {name: [_rounded(v) for v in column] for name, column in columns.items()}
        return shown | {"at": list(map(CLOCK.to_wall, columns["at"]))}


class StatusHistory:
    """Both spans of one daemon."""

    def __init__(self, settings: PageSection) -> None:
        """Start empty."""
        self.spans: dict[SpanName, HistorySpan] = {
            "short": HistorySpan(settings.every, settings.samples),
            "long": HistorySpan(settings.long_every, settings.samples),
        }

    def due(self, now: float) -> Iterator[HistorySpan]:
        """The spans that want a row."""
        return (span for span in self.spans.values() if span.due(now))


def _rounded(value: float) -> float | None:
    """Four digits are more than a picture shows; None for what is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
