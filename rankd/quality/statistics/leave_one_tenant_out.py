"""Tau of a cohort that several tenants reported, so that none of them alone can sway what is decided on it.

Lengths can be invented, signed predictions or not. Two things are known of a lone liar: without its reports the others
agree, and where there are two others, what it reports contradicts both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.interval import Interval

CONTRADICTS = 2.0
"""How many times half the two intervals' widths, taken together, lie between a tenant and the others: 3.3 standard
deviations at the guard's one-sided 95 %, so that tenants that are merely different are seldom taken for liars."""


@dataclass(frozen=True, slots=True)
class TenantSensitivity:
    """A cohort's tau, and how far it rests on single tenants."""

    tau: CohortTau
    """Of all, or without the outlier."""
    without: tuple[float, ...] = ()
    """Tau without each notable tenant that is in it, where the others are enough for one."""
    left_out: float = 0.0
    """Share of the cohort that the outlier had brought."""
    outlier: int = 0
    """Who contradicts the others and is left out; 0 where nobody is."""


def leave_one_tenant_out(cohort: Cohort, tau_of: Callable[[Cohort], CohortTau]) -> TenantSensitivity:
    """Tau of a cohort, by ``tau_of``, as a whole and without single tenants: once, where nobody has a tenant.

    With k notable tenants, of which there are at most twenty, that is some 2 k times, and k more where one is left out.
    """
    whole = tau_of(cohort)
    sources = cohort.notable_sources()
    if whole.tau is None or not sources:
        return TenantSensitivity(whole)
    others = {source: tau_of(cohort.without(source)) for source in sources}
    outlier = _outlier(cohort, tau_of, others)
    if outlier is None:
        return TenantSensitivity(whole, _values(others.values()))
    rest, remaining = others[outlier], cohort.without(outlier)
    further = [tau_of(remaining.without(source)) for source in sources if source != outlier]
    return TenantSensitivity(rest, _values(further), 1.0 - rest.size / whole.size, outlier)


def without_each(cohort: Cohort, tau_of: Callable[[Cohort], CohortTau]) -> tuple[float, ...]:
    """Tau without each notable tenant, where the others are enough for one."""
    return _values(tau_of(cohort.without(source)) for source in cohort.notable_sources())


def _values(taus: Iterable[CohortTau]) -> tuple[float, ...]:
    """What counts of the others: where their scores are all equal, that these order nothing."""
    found = (0.0 if t.tied else t.tau.value if t.tau is not None else math.nan for t in taus)
    return tuple(value for value in found if math.isfinite(value))


def _outlier(cohort: Cohort, tau_of: Callable[[Cohort], CohortTau], others: dict[int, CohortTau]) -> int | None:
    """The tenant that contradicts the others, where there are at least two others with a tau; None where there is none.

    Those without a tenant count as one of the others, and are never the outlier.
    """
    single: dict[int, Interval] = {}
    for source in (0, *others):
        tau = tau_of(cohort.only(source)).tau
        if tau is not None and math.isfinite(tau.low + tau.high):
            single[source] = tau
    if len(single) < 3:
        return None
    middle = float(np.median([tau.value for tau in single.values()]))
    outlier = max(single, key=lambda source: abs(single[source].value - middle))
    rest = others[outlier].tau if outlier else None
    if rest is None:
        return None
    wide = math.hypot(single[outlier].high - single[outlier].low, rest.high - rest.low) / 2.0
    return outlier if abs(single[outlier].value - rest.value) > CONTRADICTS * wide else None
