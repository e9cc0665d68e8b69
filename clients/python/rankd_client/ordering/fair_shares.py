"""Fair shares: start-time fair queueing over what tenants were served.

Each tenant has a counter of the tokens it was served over its weight (Sheng et al., OSDI 2024). The lowest counter goes
next, by its first request under the policy, and pays that request's cost. Two tenants that both have requests waiting
are therefore never further apart than they were at first, or than the largest cost over its weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns, finite
from rankd_client.ordering.rules import FloatArray, Rules
from rankd_client.ordering.serving_keys import LARGEST_KEY, filled

NO_TENANTS: Mapping[str, float] = MappingProxyType({})
"""What ``served`` and ``weights`` are by default."""
_LEAST_COST = 1.0
"""Tokens; every request makes at least one, or produces nothing and is worth a place all the same."""


def costs_of(queue: OrderColumns, lengths: FloatArray, rules: Rules) -> FloatArray:
    """What requests cost their tenants, in output tokens, [n].

    A running request's prompt and the tokens that it produced are in its tenant's counter already.
    """
    known = rules.ignore_lengths or bool((~np.isnan(lengths)).any())
    costs = filled(lengths, queue, rules.prior_expected) if known else np.full(len(lengths), _LEAST_COST)
    running = queue.running
    if running is not None and queue.generated is not None:
        costs = np.where(running, np.maximum(costs - finite(queue.generated), 0.0), costs)
    if queue.prompt_tokens is not None and rules.prompt_weight > 0:
        prompt = rules.prompt_weight * np.maximum(finite(queue.prompt_tokens), 0.0)
        costs = costs + (prompt if running is None else np.where(running, 0.0, prompt))
    return np.minimum(np.maximum(costs, _LEAST_COST), LARGEST_KEY)


def counter_of(tenant: str, served: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """A tenant's counter: what it was served over its weight."""
    amount = served.get(tenant, 0.0)
    return (amount if 0 <= amount < LARGEST_KEY else 0.0) / weight_of(tenant, weights)


def weight_of(tenant: str, weights: Mapping[str, float]) -> float:
    """A tenant's weight, 1 where it has none that is a positive number."""
    weight = weights.get(tenant, 1.0)
    return weight if 0 < weight < LARGEST_KEY else 1.0


def virtual_starts(
    order: NDArray[np.intp],
    tenants: Sequence[str],
    costs: FloatArray,
    served: Mapping[str, float],
    weights: Mapping[str, float],
) -> FloatArray:
    """What a tenant's counter shows when each of its requests starts, [n], if they go in the order given."""
    names, codes = coded(tenants)
    counters = [counter_of(name, served, weights) for name in names]
    shares = [weight_of(name, weights) for name in names]
    starts = [0.0] * len(order)
    # Plain numbers, one request after the other: as exact as a queue that serves one by one, and there may be as many
    # tenants as requests.
    for row, cost in zip(order.tolist(), costs[order].tolist(), strict=True):
        code = codes[row]
        starts[row] = counters[code]
        counters[code] += cost / shares[code]
    return np.array(starts)


def coded(tenants: Sequence[str]) -> tuple[list[str], list[int]]:
    """The names, each once, and by request where its own stands among them."""
    seen: dict[str, int] = {}
    codes = [seen.setdefault(tenant, len(seen)) for tenant in tenants]
    return list(seen), codes


class FairShares:
    """Counters of tenants while their requests are served one by one."""

    def __init__(
        self, tenants: Sequence[str], costs: FloatArray, served: Mapping[str, float], weights: Mapping[str, float]
    ) -> None:
        """Take each request's tenant and cost."""
        names, codes = coded(tenants)
        self._codes = np.array(codes)
        self._counters = np.array([counter_of(name, served, weights) for name in names])
        self._paid = costs / np.array([weight_of(name, weights) for name in names])[self._codes]

    def counters(self, rows: NDArray[np.intp]) -> FloatArray:
        """The counters of the tenants of some requests."""
        counters: FloatArray = self._counters[self._codes[rows]]
        return counters

    def charge(self, row: int) -> None:
        """Let a request's tenant pay for it."""
        self._counters[self._codes[row]] += self._paid[row]


class TenantCounters:
    """What tenants were served, as an engine keeps it: the ``served`` of an order.

    A tenant that comes to wait after having had nothing that waited is lifted to the least of those that wait (the lift
    of virtual token counters), or to the most of anybody where nobody waits: being away saves up nothing, and having
    been alone costs nothing. Bounded by the tenants that wait, and those that are ahead of them. Not safe across
    threads.
    """

    def __init__(self, weights: Mapping[str, float] | None = None, *, prompt_weight: float = 0.5) -> None:
        """Start at 0.

        Args:
            weights: of tenants; default 1.
            prompt_weight: what a prompt token costs, in output tokens.
        """
        self._weights = dict(weights or {})
        self._prompt_weight = prompt_weight
        self._waits: dict[str, int] = {}
        self._served: dict[str, float] = {}
        self._level = 0.0
        """Where the last one that came back started."""

    @property
    def served(self) -> Mapping[str, float]:
        """Output tokens that each tenant was served, prompt tokens weighted; a view."""
        return self._served

    def arrived(self, tenant: str) -> None:
        """A request of a tenant waits: it came, or was taken off its slot."""
        if tenant not in self._waits:
            shown = [counter_of(t, self._served, self._weights) for t in self._waits or self._served]
            self._level = min(shown) if self._waits else max(shown, default=self._level)
            lifted = self._level * weight_of(tenant, self._weights)
            before = self._served.get(tenant, 0.0)
            self._forget()
            self._served[tenant] = max(before, lifted)
        self._waits[tenant] = self._waits.get(tenant, 0) + 1

    def produced(self, tenant: str, output_tokens: float, prompt_tokens: float = 0.0) -> None:
        """A tenant was served so many tokens."""
        self._served[tenant] = self._served.get(tenant, 0.0) + output_tokens + self._prompt_weight * prompt_tokens

    def left(self, tenant: str) -> None:
        """A request of a tenant waits no more: it was started, or went away.

        Raises:
            KeyError: none of it waits.
        """
        if self._waits[tenant] == 1:
            del self._waits[tenant]
        else:
            self._waits[tenant] -= 1

    def _forget(self) -> None:
        """Drop who would be lifted to no less than what they have."""
        for tenant in [t for t in self._served if t not in self._waits]:
            if counter_of(tenant, self._served, self._weights) <= self._level:
                del self._served[tenant]
