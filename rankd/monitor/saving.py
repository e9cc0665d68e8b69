"""Completions whose saved seconds are asked for, and when to ask: what ranking did to a served model's traffic."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from rankd_client.ordering import ServedRequest, ServiceCosts

from rankd.monitor.supported import LEVERAGE, examined
from rankd.quality.savings.estimate import estimate_savings
from rankd.quality.savings.sample import SavingsSample
from rankd.quality.savings.values import SavedTotal, SavingsEstimate
from rankd.types import FloatArray

_FIRST = 128
"""Completions before the first estimate; then it is made anew after as many more as it had, up to ``_EVERY``."""
_EVERY = 500
_SLOW = 60.0
"""Seconds after which it is made anew whatever came."""
_UNUSUAL = 8.0
"""What is longer than so many times the 99th percentile is left out: it may be invented."""
_LEAST_SILENCE = 2.0
"""Seconds without a completion after which the last ones have ended, at least."""
_LONGEST_RUN = 0.995
_COLUMNS = ("waited", "ran", "output")
_KEPT = ("arrival", "waited", "ran", "output", "prompt")


class _SavingRow(NamedTuple):
    served: ServedRequest
    tenant: str


@dataclass(slots=True, eq=False)
class SavingHistory:
    """The latest completions of a served model, and what was found of them. Each is equal to itself only."""

    most: int = 4000
    estimate: SavingsEstimate | None = None
    """None: too little is known."""
    total: SavedTotal | None = None
    """What was saved of all since, as far as it was measured."""
    reported_at: float | None = None
    """When the last completion was reported, by the daemon's clock; None: none was."""
    ended_at: float | None = None
    """When the last one ended whose times are known."""
    _rows: deque[_SavingRow] = field(default_factory=deque)
    _complete_since: float = -math.inf
    _taken: int = 0
    _estimated: int = 0
    """Of these, at the last estimate."""
    _estimated_at: float = -math.inf
    _settled: bool = True
    """The last ones had ended when the last estimate was made."""
    _longest_run: float = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def reported(self, now: float) -> None:
        """Take word of a completion, whether its times are known or not."""
        self.reported_at = now

    def add(self, served: ServedRequest, tenant: str) -> None:
        """Take one whose times are known; what cannot have been so is left out."""
        if not served.possible:
            return
        if len(self._rows) >= self.most:
            self._complete_since = max(self._complete_since, _end_of(self._rows.popleft().served))
        self._rows.append(_SavingRow(served, tenant))
        self.ended_at = max(self.ended_at or -math.inf, _end_of(served))
        self._taken += 1
        self._settled = False

    def due(self, now: float) -> bool:
        """Whether it is time for an estimate: early, then ever more rarely, and once all have ended."""
        new = self._taken - self._estimated
        if self._taken < _FIRST or (new == 0 and self._settled):
            return False
        if new >= min(max(self._estimated, _FIRST), _EVERY) or (new and now - self._estimated_at >= _SLOW):
            return True
        return now - (self.reported_at or now) > max(self._longest_run, _LEAST_SILENCE)

    def job(
        self, costs: ServiceCosts | None, now: float, *, bounded: bool = True
    ) -> Callable[[], SavingsEstimate | None]:
        """Copy what an estimate needs, and return the work, to be done in any thread.

        Args:
            costs: of the engine, as learned; None where they are not known.
            now: by the daemon's clock.
            bounded: whether patience bounds how long a request waits for others.
        """
        self._estimated, self._estimated_at = self._taken, now
        rows = list(self._rows)
        runs = sorted(row.served.ran for row in rows)
        self._longest_run = runs[int(_LONGEST_RUN * (len(runs) - 1))]
        self._settled = now - (self.reported_at or now) > max(self._longest_run, _LEAST_SILENCE)
        counted = -math.inf if self.total is None else self.total.until
        return partial(_estimated, rows, self._complete_since, costs, now, bounded, counted)

    def take(self, found: SavingsEstimate | None) -> None:
        """Take what an estimate found; nothing keeps the one before."""
        if found is None:
            return
        self.estimate = found
        if found.newest is not None:
            self.total = found.newest if self.total is None else self.total.and_then(found.newest)


def _end_of(served: ServedRequest) -> float:
    return served.arrival + served.waited + served.ran


def _estimated(
    rows: list[_SavingRow], complete_since: float, costs: ServiceCosts | None, now: float, bounded: bool, counted: float
) -> SavingsEstimate | None:
    values = np.array([[getattr(row.served, name) for name in _KEPT] for row in rows], dtype=np.float64)
    kept = values[_believed(values, [row.tenant for row in rows])]
    return estimate_savings(SavingsSample.of(kept, complete_since), costs, now, bounded=bounded, counted_until=counted)


def _believed(values: FloatArray, tenants: list[str]) -> np.ndarray:
    """Which rows count: a tenant that brought much reports nothing far beyond what the others do, [n]."""
    believed = np.ones(len(values), dtype=np.bool_)
    names = np.array(tenants, dtype=object)
    big = examined(Counter(tenants))
    for name in _COLUMNS:
        column = values[:, _KEPT.index(name)]
        believed &= ~(column > _UNUSUAL * np.nanquantile(column, 0.99))
        for tenant in big:
            mine = names == tenant
            believed &= ~(mine & (column > LEVERAGE * np.nanquantile(column[~mine], 0.95)))
    return believed
