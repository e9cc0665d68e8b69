"""Finding patience by replaying recent traffic: what each objective makes of it.

What patience costs the slowest requests, and what it gains the others, depends on load, on how lengths spread and on
how well they are predicted. All of it is in what completions report: when requests came, what they took of the engine,
and what was expected of them. So the latest of them are served again (``service_replay``), in arrival order and under
growing patience up to shortest first, and each objective takes the one it likes best. A ranker that orders badly makes
nobody faster in the replay, and gets no patience at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankd_client.ordering.objectives import LIMITS, PATIENT, LatencyTarget, TailLimits
from rankd_client.ordering.rules import FloatArray, Objective, Policy
from rankd_client.ordering.served import ServedRequests
from rankd_client.ordering.service_costs import PRIOR_PROMPT_COST, ServiceCosts
from rankd_client.ordering.service_replay import ReplayedLatencies, Workload, replayed, usual_of
from rankd_client.ordering.serving_keys import patience_of

_LEAST = 0.03
_SHORTEST_FIRST = 1000.0
"""So much patience that arrival hardly counts: the order of SCORE."""
_STEPS = (_LEAST, 0.06, 0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0, 32.0, _SHORTEST_FIRST)
"""Patience for an average request, in mean waits."""
_NOTHING_WAITS = 0.02
"""A mean wait below this share of the mean latency says nothing of patience."""
_NOTHING_GAINED = 0.005
"""Of the mean latency in arrival order: so much less is not worth any patience."""
_MOST_OF_ONE = 8.0
"""What ran, read or wrote more than so many times the 99th percentile is left out: no report decides alone."""
_TIME_TO_SPARE = 4.0
"""A target is to be kept within its time over this, where arrival order does: queues grow between two tunings."""
_SLOWEST = 500
"""The slowest is the one in so many: no report decides alone."""


@dataclass(frozen=True, slots=True)
class ObjectiveOutcome:
    """What an objective makes of recent traffic, by replaying it."""

    patience: float
    """Seconds per token of expected work, of the configured policy; 0 also where the objective takes none."""
    mean_ratio: float
    """Mean latency over arrival order's."""
    p99_ratio: float
    first_token_ratio: float
    """Mean time to first token over arrival order's."""
    slo_share: float | None = None
    """Share of requests within the target; None where there is none."""
    arrival_slo_share: float | None = None
    """The same in arrival order."""
    backlog_share: float = 0.0
    """Patience for an average request, as a share of what requests waited in arrival order."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """One order of the sweep."""

    outcome: ObjectiveOutcome
    slowest_ratio: float
    least: bool
    """Whether it has no more than the least patience, which is always allowed."""
    tight_share: float
    """Of requests within the target with time to spare (``_tightened``); 0 where there is no target."""


def tune(
    served: ServedRequests,
    policy: Policy,
    costs: ServiceCosts | None,
    *,
    tail_budget: float = 0.0,
    target: LatencyTarget | None = None,
    prompt_cost: float | None = None,
) -> dict[Objective, ObjectiveOutcome]:
    """What each objective would have made of recent completions; empty where nothing can be said.

    Args:
        served: recent completions, by arrival; a few hundred at least to say anything of a tail.
        policy: BOOST or DUE; others know no patience.
        costs: of the engine, as learned; None where they are not known.
        tail_budget: how much larger than in arrival order the 99th percentile of latency may be, whatever the
            objective; 0 leaves it to the objective.
        target: what SLO is to keep; None leaves SLO out.
        prompt_cost: what an uncached prompt token counts for in the order, output tokens; None: as ``costs`` have it.
    """
    if policy not in PATIENT or len(served) < 2 or not _some_wait(served.waited, served.ran):
        return {}
    served = usual_of(served, _MOST_OF_ONE)
    load, work = Workload.of(served, costs), _work_of(served, costs, prompt_cost)
    baseline = _Baseline(load, target)
    if not _some_wait(baseline.waits, baseline.latencies.whole - baseline.waits):
        return {}
    average = max(trimmed_mean(work), 1.0)
    shape = work / average - 1 if policy is Policy.DUE else np.log(np.maximum(work, 1.0) / average)
    # Where more waits than on average there is more patience, as ``AdaptiveRules`` has it.
    shape *= np.maximum(baseline.waits, baseline.wait)
    tried = [baseline.against(baseline.latencies, 0.0)]
    for step in _STEPS:
        latencies = replayed(load, load.arrival + step * shape)
        patience = patience_of(step * baseline.wait / average)
        tried.append(baseline.against(latencies, patience, step))
    found = {
        objective: _fastest_within(tried, TailLimits(tail_budget or limits.p99, limits.most))
        for objective, limits in LIMITS.items()
    }
    if target is not None:
        found[Objective.SLO] = _fastest_on_target(tried, target, len(served))
    for objective, key in ((Objective.FIRST, work), (Objective.MAKESPAN, -work)):
        found[objective] = baseline.against(replayed(load, key), 0.0).outcome
    return found


class _Baseline:
    """Arrival order, which every other is measured against."""

    def __init__(self, load: Workload, target: LatencyTarget | None) -> None:
        self.latencies = replayed(load, load.arrival)
        self.waits = np.maximum(self.latencies.first_token - load.prefill, 0.0)
        """Until requests start, seconds, [n]."""
        self.wait = trimmed_mean(self.waits)
        self._target = target
        self._of = _figures(self.latencies)
        self._share = _share(self.latencies, target)
        self._tight = None if target is None else _tightened(target, self.latencies)

    def against(self, latencies: ReplayedLatencies, patience: float, share: float = 0.0) -> _Tried:
        """An order's figures, over those of arrival order."""
        mean, p99, slowest, first = (
            own / of if of > 0 else 1.0 for own, of in zip(_figures(latencies), self._of, strict=True)
        )
        within = _share(latencies, self._target)
        outcome = ObjectiveOutcome(patience, mean, p99, first, within, self._share, backlog_share=share)
        return _Tried(outcome, slowest, share <= _LEAST, _share(latencies, self._tight) or 0.0)


def _figures(latencies: ReplayedLatencies) -> tuple[float, float, float, float]:
    """Mean, p99 and slowest of latency, and the mean time to first token."""
    whole = latencies.whole
    slowest = np.partition(whole, -1 - len(whole) // _SLOWEST)[-1 - len(whole) // _SLOWEST]
    return float(whole.mean()), float(np.quantile(whole, 0.99)), float(slowest), float(latencies.first_token.mean())


def _share(latencies: ReplayedLatencies, target: LatencyTarget | None) -> float | None:
    """Share of requests within the target."""
    if target is None:
        return None
    return float(np.mean(_measured(latencies, target) <= target.seconds))


def _measured(latencies: ReplayedLatencies, target: LatencyTarget) -> FloatArray:
    return latencies.first_token if target.first_token else latencies.whole


def _tightened(target: LatencyTarget, in_arrival_order: ReplayedLatencies) -> LatencyTarget:
    """The target that orders are judged by: a quarter of its time, but no less than arrival order needs to keep it.

    While hardly anybody waits every order keeps a target, and which of them will once many do cannot be seen. At the
    time that arrival order just keeps, however short it is, it can: the orders differ there as they do in a long queue.
    """
    needed = float(np.quantile(_measured(in_arrival_order, target), target.share, method="higher"))
    return replace(target, seconds=min(target.seconds, max(needed, target.seconds / _TIME_TO_SPARE)))


def _fastest_within(tried: Sequence[_Tried], limits: TailLimits) -> ObjectiveOutcome:
    """The shortest mean of those whose slowest are within limits.

    The least patience is always allowed: it moves nobody far, and in a burst, where any patience means the same order,
    none at all would give up everything for a tail that is not there.
    """
    return _fastest(
        [
            one.outcome
            for one in tried
            if one.least or (one.outcome.p99_ratio <= limits.p99 and one.slowest_ratio <= limits.most)
        ]
    )


def _fastest_on_target(tried: Sequence[_Tried], target: LatencyTarget, completions: int) -> ObjectiveOutcome:
    """The shortest mean of those that keep the target with time to spare, or else of those that keep it for most.

    As far as so many completions can tell. Of means as good as the shortest, if no longer than arrival order's, the one
    of most patience: it holds out longest in a queue that grows.
    """
    most = min(max(one.tight_share for one in tried), target.share)
    keeping = most - math.sqrt(most * (1 - most) / completions)
    allowed = [one.outcome for one in tried if one.tight_share >= keeping]
    best = min(outcome.mean_ratio for outcome in allowed)
    longest = min(best + _NOTHING_GAINED, 1.0) if best <= 1 else best
    return [outcome for outcome in allowed if outcome.mean_ratio <= longest][-1]


def _fastest(allowed: Sequence[ObjectiveOutcome]) -> ObjectiveOutcome:
    """The shortest mean; of those as good as that, the one of least patience."""
    best = min(outcome.mean_ratio for outcome in allowed)
    return next(outcome for outcome in allowed if outcome.mean_ratio <= best + _NOTHING_GAINED)


def _work_of(served: ServedRequests, costs: ServiceCosts | None, prompt_cost: float | None) -> FloatArray:
    """Expected work, as the queue was ordered by, output tokens."""
    if prompt_cost is None:
        prompt_cost = PRIOR_PROMPT_COST if costs is None else costs.prompt_cost
    return np.maximum(served.expected, 0.0) + max(prompt_cost, 0.0) * np.nan_to_num(served.prompt)


def _some_wait(waited: FloatArray, ran: FloatArray) -> bool:
    return trimmed_mean(waited) > _NOTHING_WAITS * trimmed_mean(waited + ran)


def trimmed_mean(values: FloatArray) -> float:
    """The mean without the largest hundredth: reports come from strangers, and no one of them may decide."""
    return float(np.sort(values)[: len(values) - len(values) // 100].mean())
