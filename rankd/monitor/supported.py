"""What is learned of all, as far as it rests on no single tenant.

Reports can be invented. ``quality.max_tenant_share`` bounds how many of one tenant's are learned from; here is bounded
how far these move what is learned. A wait or a length counts for no more than a few times what the other tenants
report. A calibration or a patience moves from what it was only as far as it would without any one of the tenants that
brought much, too: what all of these say is taken, what rests on one of them alone is not. Where the others brought too
little to judge by, as where there is one tenant or none, everything counts as it comes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import (
    Objective,
    ObjectiveOutcome,
    ServedRequest,
    ServedRequests,
)

from rankd.quality import Cohort

LEVERAGE = 4.0
"""A value counts for at most so many times the 95th percentile of the other tenants' values."""
_NOTABLE = 0.05
"""Share of what is known from which on a tenant is examined."""
_MOST_EXAMINED = 5
_LEAST_OTHERS = 20
"""Values of others that it takes to bound a tenant's."""
_LEAST_LEARNED = 100
"""Requests of others that it takes to learn without a tenant."""
_LOOK_EVERY = 32


class TenantValues:
    """The latest values that were reported, and what those of each tenant count for."""

    def __init__(self, least: float, size: int = 256) -> None:
        """Start empty; a value of up to ``least`` counts whatever others report: it does no harm."""
        self.recent: deque[tuple[float, str]] = deque(maxlen=size)
        self._least = least
        self._limits: dict[str, float] = {}
        self._since = _LOOK_EVERY

    def add(self, value: float, tenant: str) -> None:
        """Note one; the empty name stands for all that have none."""
        self.recent.append((value, tenant))
        self._since += 1

    def counted(self, value: float, tenant: str) -> float:
        """What a tenant's value counts for."""
        return min(value, self._bounded().get(tenant, np.inf))

    def all_counted(self) -> list[float]:
        """What the latest values count for."""
        limits = self._bounded()
        if not limits:
            return [value for value, _ in self.recent]
        return [min(value, limits.get(tenant, np.inf)) for value, tenant in self.recent]

    def _bounded(self) -> dict[str, float]:
        if self._since >= _LOOK_EVERY:
            self._since, self._limits = 0, self._bounds()
        return self._limits

    def _bounds(self) -> dict[str, float]:
        counts = Counter(tenant for _, tenant in self.recent)
        if len(counts) < 2:
            return {}  # as where nobody has a tenant
        values = np.array([value for value, _ in self.recent])
        tenants = np.array([tenant for _, tenant in self.recent], dtype=object)
        return {
            tenant: max(self._least, LEVERAGE * float(np.quantile(values[tenants != tenant], 0.95)))
            for tenant, count in counts.most_common(_MOST_EXAMINED)
            if len(values) - count >= _LEAST_OTHERS
        }


class ServedHistory:
    """The latest completions, a bounded number, as a whole and without single tenants."""

    def __init__(self, most: int = 2000) -> None:
        """Start without any."""
        self._rows: deque[tuple[ServedRequest, str]] = deque(maxlen=max(most, 1))

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, request: ServedRequest, tenant: str = "") -> None:
        """Note one; what cannot have been so is left out."""
        if request.possible:
            self._rows.append((request, tenant))

    def served(self) -> ServedRequests:
        """All of them by column, by arrival."""
        return self.views()[0]()

    def views(self) -> list[Callable[[], ServedRequests]]:
        """A copy of all, then of all without each tenant that brought much; to be called in any thread."""
        rows = list(self._rows)
        parts = [None, *examined(Counter(tenant for _, tenant in rows))]
        return [partial(_served, rows, without) for without in parts]

    def copy(self) -> list[tuple[ServedRequest, str]]:
        """Each with whose it is."""
        return list(self._rows)


def _served(rows: Sequence[tuple[ServedRequest, str]], without: str | None) -> ServedRequests:
    return ServedRequests.of(request for request, tenant in rows if without is None or tenant != without)


def examined(counts: Counter[str]) -> list[str]:
    """Tenants that brought much, where the others brought enough; those without a tenant are nobody in particular."""
    total = counts.total()
    return [
        tenant
        for tenant, count in counts.most_common(_MOST_EXAMINED + 1)
        if tenant and count >= _NOTABLE * total and total - count >= _LEAST_LEARNED
    ][:_MOST_EXAMINED]


def supported_outcomes(
    views: Sequence[Callable[[], ServedRequests]],
    tuned: Callable[[ServedRequests], dict[Objective, ObjectiveOutcome]],
    before: Mapping[Objective, ObjectiveOutcome],
) -> dict[Objective, ObjectiveOutcome]:
    """Patience as all completions have it, moved from ``before`` only as far as without any one tenant too.

    Args:
        views: as ``ServedHistory.views`` gives them.
        tuned: what some completions say of each objective; empty where nothing.
        before: what was found before; where nothing was, the least patience counts.
    """
    said = [tuned(view()) for view in views]
    whole = next((one for one in said if one), {})
    return {
        objective: _moved([one[objective] for one in said if objective in one], before.get(objective))
        for objective in whole
    }


def _moved(known: Sequence[ObjectiveOutcome], before: ObjectiveOutcome | None) -> ObjectiveOutcome:
    """The first, with patience as little moved from before as any of them would have it."""
    if len(known) == 1:
        return known[0]
    patience, share = sorted(one.patience for one in known), sorted(one.backlog_share for one in known)
    if before is None:
        return replace(known[0], patience=patience[0], backlog_share=share[0])
    return replace(
        known[0],
        patience=min(max(before.patience, patience[0]), patience[-1]),
        backlog_share=min(max(before.backlog_share, share[0]), share[-1]),
    )


def supported_calibration(
    known: Cohort, fit: Callable[[Cohort], Calibration], before: Calibration | None
) -> Calibration:
    """The map from score to length of all completions, moved from ``before`` only as far as without any one tenant too.

    At each score the result is the median of ``before``, the lowest and the highest fit. The median of maps that never
    decrease is one.

    Args:
        known: completions, with whose they are.
        fit: learns the map.
        before: the map that was in force; None where there was none.
    """
    whole = fit(known)
    if before is None or known.source is None or not known.source.any():
        return whole
    sources, numbers = np.unique(known.source, return_counts=True)
    counts = Counter({str(s): int(n) for s, n in zip(sources.tolist(), numbers, strict=True) if s})
    counts[""] = int(np.count_nonzero(known.source == 0))
    fits = [whole, *(fit(known.without(int(source))) for source in examined(counts))]
    if len(fits) == 1:
        return whole
    scores = np.array([knot.score for knot in whole.knots])
    expected, p50, p90 = (
        _median(getattr(before, name)(scores), [getattr(f, name)(scores) for f in fits])
        for name in ("expected", "p50", "p90")
    )
    mean = min(max(before.mean_expected, min(f.mean_expected for f in fits)), max(f.mean_expected for f in fits))
    if expected is None:
        return whole
    none = [None] * len(scores)
    columns = zip(scores.tolist(), expected, *((p50, p90) if p50 and p90 else (none, none)), strict=True)
    return Calibration(tuple(Knot(*row) for row in columns), mean)


def _median(before: np.ndarray | None, fits: Sequence[np.ndarray | None]) -> list[float] | None:
    """``before`` within the lowest and highest of the fits; None where one does not say."""
    said = [values for values in fits if values is not None]
    if before is None or len(said) < len(fits):
        return None
    bounded: list[float] = np.clip(before, np.min(said, axis=0), np.max(said, axis=0)).tolist()
    return bounded
