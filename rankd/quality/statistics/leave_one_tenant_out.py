"""Tau of a cohort that several tenants reported, so that none of them alone can sway what is decided on it.

Lengths can be invented, signed predictions or not. Two things are known of a lone liar: without its reports the others
agree, and where there are two others, what it tells contradicts both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.interval import Interval

NOTABLE = 0.05
"""Share of a cohort from which on a tenant is looked at: a smaller one moves tau by hardly more than chance does."""


CONTRADICTS = 2.0
"""How many times half the two intervals' widths, taken together, lie between a tenant and the others: 3.3 standard
deviations at the guard's one-sided 95 %, so that tenants that are merely different are seldom taken for liars."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a cohort says, and how far it hangs on single tenants."""

    tau: CohortTau
    """Of all, or without the odd one out."""
    without: tuple[float, ...] = ()
    """Tau without each notable tenant that is in it, where the others can be judged on."""
    left_out: float = 0.0
    """Share of the cohort that the odd one out had brought."""


def weigh(cohort: Cohort, judge: Callable[[Cohort], CohortTau]) -> Weighed:
    """Judge a cohort, by ``judge``, as a whole and without single tenants: once, where nobody has a tenant.

    With k notable tenants, of which there are at most twenty, that is some 2 k times, and k more where one is left out.
    """
    whole = judge(cohort)
    sources = cohort.sources(NOTABLE)
    if whole.tau is None or not sources:
        return Weighed(whole)
    rests = {source: judge(cohort.without(source)) for source in sources}
    odd = _odd_one_out(cohort, judge, rests)
    if odd is None:
        return Weighed(whole, _values(rests.values()))
    rest, kept = rests[odd], cohort.without(odd)
    further = [judge(kept.without(source)) for source in sources if source != odd]
    return Weighed(rest, _values(further), 1.0 - rest.size / whole.size)


def _values(taus: Iterable[CohortTau]) -> tuple[float, ...]:
    return tuple(t.tau.value for t in taus if t.tau is not None and math.isfinite(t.tau.value))


def _odd_one_out(cohort: Cohort, judge: Callable[[Cohort], CohortTau], rests: dict[int, CohortTau]) -> int | None:
    """The tenant that contradicts the others, where at least two others can be told apart; None where there is none.

    Those without a tenant count as one of the others, and are never the odd one.
    """
    own: dict[int, Interval] = {}
    for source in (0, *rests):
        tau = judge(cohort.only(source)).tau
        if tau is not None and math.isfinite(tau.low + tau.high):
            own[source] = tau
    if len(own) < 3:
        return None
    middle = float(np.median([tau.value for tau in own.values()]))
    odd = max(own, key=lambda source: abs(own[source].value - middle))
    rest = rests[odd].tau if odd else None
    if rest is None:
        return None
    wide = math.hypot(own[odd].high - own[odd].low, rest.high - rest.low) / 2.0
    return odd if abs(own[odd].value - rest.value) > CONTRADICTS * wide else None
