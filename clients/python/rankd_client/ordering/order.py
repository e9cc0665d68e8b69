"""From scores to a serving order: pure functions on columns, shared by the daemon and by plug-ins inside engines.

No clock and no I/O: times are arguments. Every key is an int64, lower is served first, ties go by arrival and then by
request id, so the same queue gives the same order whatever order its items come in.

Under ``DUE`` a request is due at ``arrival + patience * W``, with ``W`` its expected work. The key is static, and it
bounds overtaking by construction: *i* is only overtaken by requests *j* that arrive within ``patience * (W_i - W_j)``
after it. Under ``BOOST`` ratios of work take the place of differences: *i* is only overtaken by *j* that arrive
within ``patience * M * ln(W_i / W_j)`` after it, with ``M`` the average work. Classes with a policy of their own
(``Rules.class_policies``) have that bound among themselves; strict classes go one after the other whatever the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns, finite, time_of, times_of
from rankd_client.ordering.fair_shares import NO_TENANTS, FairShares, costs_of, virtual_starts
from rankd_client.ordering.overtaking import one_by_one, overtakes
from rankd_client.ordering.rules import FloatArray, IntArray, Policy, Rules
from rankd_client.ordering.serving_keys import (
    filled,
    keys_of,
    lengths_of,
    policy_in_force,
    strict_classes,
)
from rankd_client.ordering.work import running_time

BoolArray = NDArray[np.bool_]
PLACES = 256
"""Of an order in which an overtake cap that binds is exact: more than an engine starts before it asks again. Further
places would cost a pass over the queue each, and hold up a daemon's other callers."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """The order of a queue.

    ``order`` holds indices of the input, the first to serve first; ``serving_key`` is by input index. ``policy`` is
    what the order follows: FCFS where nothing could be said about any length.
    """

    order: NDArray[np.intp]
    serving_key: IntArray
    policy: Policy


def order_queue(
    queue: OrderColumns,
    rules: Rules,
    *,
    now: float = 0.0,
    served: Mapping[str, float] = NO_TENANTS,
    weights: Mapping[str, float] = NO_TENANTS,
    scores_comparable: bool = True,
) -> Ordering:
    """Order a queue. Never raises on numbers: what is not finite counts as absent, what is too large is clamped.

    What goes before what, each among equals of the one before:

    1. running requests, unless ``rules.running_first`` is off;
    2. who waited for longer than ``rules.wait_cap``, the oldest first, whatever else holds of them;
    3. who was overtaken ``rules.overtake_cap`` times goes before everybody who arrived later, in the first 256 places;
    4. the lower class, where classes are strict;
    5. the tenant that was served least for its weight, counting what goes before in this order;
    6. who can still be done by the deadline, except under FCFS;
    7. the serving key, then arrival, then the request id by code point.

    Args:
        queue: the queue.
        rules: the policy in force.
        now: seconds by the clock of ``queue.arrival``; matters to AGED, ``wait_cap`` and deadlines.
        served: what each tenant was served so far, in output tokens (prompt tokens weighted); default 0.
        weights: of tenants; default 1.
        scores_comparable: False where scores come from different rankers; then only ``expected`` is compared.

    Returns:
        The order. A request without score or expectation is placed as one of ``rules.prior_expected`` tokens. Where
        no request has any, or DUE, BOOST and AGED know no expected length at all, the whole queue is FCFS, unless
        prompts are known and cost something.
    """
    arrival, now = times_of(np.asarray(queue.arrival, dtype=np.float64)), time_of(now)
    lengths = lengths_of(queue, rules.risk, ignored=rules.ignore_lengths)
    policy = policy_in_force(rules, queue, lengths, comparable=scores_comparable)
    key = keys_of(policy, queue, lengths, arrival, rules, now, comparable=scores_comparable)
    stages = _stages(queue, rules, policy, arrival, lengths, now)
    order = _sorted(stages.levels(key), arrival, queue.request_ids)
    costs = None
    if stages.tenants is not None:
        costs = costs_of(queue, lengths, rules)
        starts = virtual_starts(order, stages.tenants, costs, served, weights)
        order = _sorted(stages.levels(key, starts), arrival, queue.request_ids)
    if rules.overtake_cap > 0:
        order = _without_more_overtaking(order, queue, rules, stages, key, arrival, costs, served, weights)
    return Ordering(order, key, policy)


@dataclass(slots=True)
class _Stages:
    """What goes before the key, by request; None where it tells nobody apart."""

    running: BoolArray | None
    overdue: BoolArray | None
    classes: IntArray | None
    tenants: Sequence[str] | None
    late: BoolArray | None

    def levels(self, key: IntArray, starts: FloatArray | None = None) -> list[NDArray[np.generic]]:
        """What to sort by, the first to count first."""
        above: list[NDArray[np.generic]] = [] if self.running is None else [~self.running]
        below: list[NDArray[np.generic]] = [
            level for level in (self.classes, starts, self.late, key) if level is not None
        ]
        if self.overdue is not None:
            above.append(~self.overdue)
            # Among those overdue only arrival counts.
            below = [np.where(self.overdue, np.zeros(1, dtype=level.dtype), level) for level in below]
        return above + below


def _stages(
    queue: OrderColumns, rules: Rules, policy: Policy, arrival: FloatArray, lengths: FloatArray, now: float
) -> _Stages:
    running = queue.running if queue.running is not None and queue.running.any() else None
    overdue: BoolArray | None = now - arrival > rules.wait_cap
    if overdue is not None and running is not None:
        overdue &= ~running
    late = None
    if queue.deadline is not None and policy is not Policy.FCFS:
        late = hopeless(queue, lengths, rules, now)
    return _Stages(
        running=running if rules.running_first else None,
        overdue=overdue if overdue is not None and overdue.any() else None,
        classes=strict_classes(queue, rules, policy),
        tenants=queue.tenant if rules.fair_tenants and queue.tenant and len(set(queue.tenant)) > 1 else None,
        late=late if late is not None and late.any() else None,
    )


def hopeless(queue: OrderColumns, lengths: FloatArray, rules: Rules, now: float) -> BoolArray:
    """Who cannot be done by the deadline even if started now, [n]; what was produced already takes no more time."""
    assert queue.deadline is not None
    left = filled(lengths, queue, rules.prior_expected)
    if queue.generated is not None:
        left = np.maximum(left - np.maximum(finite(queue.generated), 0.0), 0.0)
    takes = running_time(left, queue, rules)
    late: BoolArray = now + takes > np.where(np.isfinite(queue.deadline), queue.deadline, np.inf)
    return late


def _without_more_overtaking(
    order: NDArray[np.intp],
    queue: OrderColumns,
    rules: Rules,
    stages: _Stages,
    key: IntArray,
    arrival: FloatArray,
    costs: FloatArray | None,
    served: Mapping[str, float],
    weights: Mapping[str, float],
) -> NDArray[np.intp]:
    """The order, changed where it overtakes somebody more often than the cap allows."""
    before = np.zeros(len(order), dtype=np.int64) if queue.overtaken is None else np.asarray(queue.overtaken)
    # Those running or overdue overtake nobody: they are served already, or older than everybody else.
    ahead = sum(int(level.sum()) for level in (stages.running, stages.overdue) if level is not None)
    rest = order[ahead:]
    # Who stands at place p is overtaken at most p times more; only where that is not enough to tell is it counted.
    if (before[rest] + np.arange(len(rest)) <= rules.overtake_cap).all():
        return order
    more = overtakes(arrival[rest])
    if ((more == 0) | (before[rest] + more <= rules.overtake_cap)).all():
        return order
    shares = None
    if stages.tenants is not None and costs is not None:
        shares = FairShares(stages.tenants, costs, served, weights)
        for row in order[:ahead].tolist():
            shares.charge(row)
    above = [] if stages.classes is None else [stages.classes]
    below: list[NDArray[np.generic]] = [key] if stages.late is None else [stages.late, key]
    # Once for all places: comparing the ids of those that are equal otherwise would cost more than all the rest.
    rank = np.empty(len(order), dtype=np.int64)
    rank[_sorted(below, arrival, queue.request_ids)] = np.arange(len(order))
    tail = one_by_one(rest, above, shares, rank, arrival, before, rules.overtake_cap, PLACES)
    return np.concatenate((order[:ahead], tail))


def _sorted(levels: Sequence[NDArray[np.generic]], arrival: FloatArray, request_ids: Sequence[str]) -> NDArray[np.intp]:
    """Indices by (levels, arrival, id). Ids are compared only within ties: comparing text is what costs."""
    order = np.lexsort((arrival, *reversed(levels)))
    if len(order) < 2:
        return order
    tied = np.diff(arrival[order]) == 0
    for level in levels:
        sorted_level = level[order]
        tied &= sorted_level[1:] == sorted_level[:-1]
    if not tied.any():
        return order
    edges = np.diff(np.concatenate(([False], tied, [False])).astype(np.int8))
    # Plain lists from here on: thousands of short runs cost a numpy call each otherwise.
    places = order.tolist()
    for start, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        # Python compares text by code point, which is how its UTF-8 sorts: clients in any language agree.
        places[start : end + 1] = sorted(places[start : end + 1], key=request_ids.__getitem__)
    return np.array(places, dtype=np.intp)
