"""What requests cost the engine, as far as it rests on no single tenant.

Costs are learned from a request's own report and from the prompts that were read beside it, which others reported. So
a tenant can be left out in two ways. Its requests can be no evidence, while what it says of its prompts still explains
the run times of others: then nothing is lost but its share of the evidence. Or its prompts, too, can be taken for the
average of the others', at the times at which its requests started: then nothing that it says of lengths and times of
running counts, at the price of an estimate that knows less.

A tenant whose run times the others' costs explain much worse than their own is left out in the first way; one whose
prompts explain the run times of others worse than average prompts would, in the second. What remains moves costs from
what they were only as far as they would move without any further one of the tenants that brought much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import CostEstimate, ServedRequest, ServedRequests, ServiceCosts
from rankd_client.ordering.served import arrival_order
from rankd_client.ordering.service_costs import CostFit, explained

from rankd.monitor.supported import LEVERAGE, examined
from rankd.types import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_STRANGE = 1.7
"""Typical error of a tenant's run times over that of the others', from which on it is no evidence."""
_INVENTED = 0.97
"""Typical error with average prompts over that with those reported, up to which they are taken for invented."""
_LEAST_LEFT = 0.5
"""Share of completions that stays evidence."""
_EXACT = 1e-6
"""Errors below are none."""


@dataclass(frozen=True)
class CostEvidence:
    """Completions, and whose they are."""

    served: ServedRequests
    tenants: IntArray
    """Number of each one's tenant, [n]."""
    examined: list[int]
    """Tenants that brought much, where the others brought enough."""
    _fits: dict[tuple[frozenset[int], frozenset[int]], CostFit | None] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[tuple[ServedRequest, str]]) -> CostEvidence:
        """Out of completions with the names of their tenants, the empty one for those that have none."""
        numbers = {name: number for number, name in enumerate(sorted({tenant for _, tenant in rows}))}
        order = arrival_order(np.array([request.arrival for request, _ in rows]))
        tenants = np.array([numbers[tenant] for _, tenant in rows], dtype=np.int64)[order]
        counts = Counter(tenant for _, tenant in rows)
        return cls(ServedRequests.of(r for r, _ in rows), tenants, [numbers[name] for name in examined(counts)])

    def prompts(self) -> FloatArray:
        """Uncached prompt tokens, of a tenant no more than a few times what the others report, [n]; NaN: not known."""
        counted = self.served.prompt.copy()
        for tenant in self.examined:
            mine = self.tenants == tenant
            others = self.served.prompt[~mine & ~np.isnan(self.served.prompt)]
            if len(others):
                counted[mine] = np.minimum(counted[mine], LEVERAGE * np.quantile(others, 0.95))
        return counted

    def of_any(self, tenants: frozenset[int]) -> BoolArray:
        """Which completions are of one of these, [n]."""
        return np.isin(self.tenants, list(tenants))

    def fit(self, apart: frozenset[int], invented: frozenset[int]) -> CostFit | None:
        """Costs without the evidence of some tenants, and with average prompts of some."""
        if (apart, invented) not in self._fits:
            self._fits[apart, invented] = self._fit(apart, invented)
        return self._fits[apart, invented]

    def _fit(self, apart: frozenset[int], invented: frozenset[int]) -> CostFit | None:
        mine = self.of_any(apart)
        if apart and (~mine).mean() < _LEAST_LEFT:
            return None
        served = replace(self.served, prompt=self.prompts())
        known = ~mine & ~np.isnan(served.prompt)
        if invented and known.any():
            average = float(served.prompt[known].mean())
            served = replace(served, prompt=np.where(self.of_any(invented), average, served.prompt))
        return explained(served, mine)


def supported_costs(evidence: CostEvidence, before: ServiceCosts | None) -> ServiceCosts | None:
    """Costs as completions have them; None where these tell too little.

    Args:
        evidence: completions, and whose they are.
        before: what was found before; None where nothing was.
    """
    apart, invented = _left_out(evidence)
    found = evidence.fit(apart, invented)
    if found is None:
        return None
    further = [evidence.fit(apart | {tenant}, invented) for tenant in evidence.examined if tenant not in apart]
    known = [found.costs, *(fit.costs for fit in further if fit is not None)]
    if before is None or len(known) == 1:
        return found.costs
    running = [costs.running for costs in known]
    return ServiceCosts(
        per_prompt_token=_moved([costs.per_prompt_token for costs in known], before.per_prompt_token),
        per_output_token=_moved([costs.per_output_token for costs in known], before.per_output_token),
        per_request=_moved([costs.per_request for costs in known], before.per_request),
        running=min(max(before.running, min(running)), max(running)),
        completions=found.costs.completions,
    )


def _moved(said: list[CostEstimate], before: CostEstimate) -> CostEstimate:
    """The estimate before, moved into the range of what is said, with the interval of the one that it comes nearest."""
    values = [estimate.value for estimate in said]
    value = min(max(before.value, min(values)), max(values))
    nearest = min(said, key=lambda estimate: abs(estimate.value - value))
    return CostEstimate(value, min(nearest.low, value), max(nearest.high, value))


def _left_out(evidence: CostEvidence) -> tuple[frozenset[int], frozenset[int]]:
    """Tenants that are no evidence, and those of them whose prompts are taken for average.

    Where one invents, the others look strange to what was learned with it, too: of those that could be left out it is
    the one without which what remains fits together best.
    """
    apart: frozenset[int] = frozenset()
    invented: frozenset[int] = frozenset()
    while tenants := _strangest(evidence, apart):
        apart |= tenants
    while (tenant := _inventor(evidence, apart, invented)) is not None:
        apart, invented = apart | {tenant}, invented | {tenant}
    return apart, invented


def _strangest(evidence: CostEvidence, apart: frozenset[int]) -> frozenset[int]:
    """The tenant, or two, whose run times are explained much worse than the others' by what is learned of these.

    Two that invent alike are not found one by one where what is learned with the other fits neither them nor the rest.
    """
    left = [tenant for tenant in evidence.examined if tenant not in apart]
    strange = {}
    for together in (1, 2):
        for tenants in map(frozenset, combinations(left, together)):
            fit = evidence.fit(apart | tenants, frozenset())
            if fit is None:
                continue
            others = _typical(fit.errors[~evidence.of_any(apart | tenants)])
            if all(_typical(fit.errors[evidence.tenants == tenant]) > _STRANGE * others for tenant in tenants):
                strange[tenants] = others
        if not strange:
            break
    return min(strange, key=strange.__getitem__, default=frozenset())


def _inventor(evidence: CostEvidence, apart: frozenset[int], invented: frozenset[int]) -> int | None:
    """The tenant whose prompts explain the others' run times worse than average prompts in their place."""
    better = {}
    for tenant in evidence.examined:
        without = apart | {tenant}
        fits = [evidence.fit(without, invented), evidence.fit(without, invented | {tenant})]
        if tenant in invented or fits[0] is None or fits[1] is None:
            continue
        others = ~evidence.of_any(without)
        reported, average = (_typical(fit.errors[others]) for fit in fits if fit is not None)
        if average < _INVENTED * reported:
            better[tenant] = average
    return min(better, key=better.__getitem__, default=None)


def _typical(errors: FloatArray) -> float:
    known = errors[~np.isnan(errors)]
    return float(np.median(known)) + _EXACT if len(known) else _EXACT
