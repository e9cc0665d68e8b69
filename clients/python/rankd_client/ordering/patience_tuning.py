"""Finding patience by replaying recent traffic: as much as the tail allows.

What patience costs the slowest requests, and what it gains the others, depends on load, on how lengths spread and on
how well they are predicted. All of it is in what completions report: when requests came, how long they waited and ran,
and what was expected of them. So the queue of the latest completions is replayed, as one of so many slots, in arrival
order and under growing patience, and the most that keeps the tail within its budget is taken. A ranker that orders
badly makes nobody faster in the replay, and gets no patience at all.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from rankd_client.ordering.objectives import LIMITS, LatencyTarget
from rankd_client.ordering.rules import FloatArray, Objective, Policy
from rankd_client.ordering.served import ServedRequests
from rankd_client.ordering.service_costs import ServiceCosts
from rankd_client.ordering.serving_keys import patience_of

_STEPS = (0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Patience for an average request, in mean waits."""
_NOTHING_WAITS = 0.02
"""A mean wait below this share of the mean latency says nothing of patience."""


@dataclass(frozen=True, slots=True)
class ObjectiveOutcome:
    """What an objective makes of recent traffic, by replaying it."""

    patience: float
    """Seconds per token of expected work, of the configured policy."""
    mean_ratio: float
    """Mean latency over arrival order's."""
    p99_ratio: float
    first_token_ratio: float
    """Mean time to first token over arrival order's."""
    slo_share: float | None = None
    """Share of requests within the target; None where there is none."""
    arrival_slo_share: float | None = None
    """The same in arrival order."""


def tune(
    served: ServedRequests,
    policy: Policy,
    costs: ServiceCosts | None,
    *,
    tail_budget: float = 0.0,
    target: LatencyTarget | None = None,
) -> dict[Objective, ObjectiveOutcome]:
    """What each objective would have made of recent completions; empty where nothing can be said.

    Args:
        served: recent completions, by arrival.
        policy: BOOST or DUE.
        costs: of the engine, as learned; None where they are not known.
        tail_budget: how much larger than in arrival order the 99th percentile of latency may be, whatever the
            objective; 0 leaves it to the objective.
        target: what SLO is to keep; None leaves SLO out.
    """
    del costs, target
    found: dict[Objective, ObjectiveOutcome] = {}
    for objective, limits in LIMITS.items():
        patience = tuned_patience(served, policy, budget=tail_budget or limits.p99)
        if patience is not None:
            found[objective] = ObjectiveOutcome(patience, 1.0, 1.0, 1.0)
    return found


def tuned_patience(
    served: ServedRequests, policy: Policy, *, budget: float = 1.15, quantile: float = 0.99
) -> float | None:
    """The patience of DUE or BOOST, seconds per token, that recent traffic was best served with.

    Args:
        served: recent completions, by arrival; a few hundred at least to say anything of a tail.
        policy: DUE or BOOST; others know no patience.
        budget: how much larger than under arrival order the tail of latencies may be. The least patience, .03 mean
            waits for an average request, is taken whatever it does to the tail.
        quantile: what the tail is.

    Returns:
        None where next to nothing waited, so that nothing can be said. 0 where no patience made anybody faster.
    """
    if policy not in (Policy.DUE, Policy.BOOST) or len(served.arrival) < 2:
        return None
    if not _some_wait(served.waited, served.ran):
        return None
    slots = slots_of(served)
    fcfs = replayed(served, np.zeros(len(served.arrival)), slots)
    wait = float((fcfs - served.ran).mean())
    if not _some_wait(fcfs - served.ran, served.ran):
        return None
    lengths = np.maximum(served.expected, 1.0)
    average = trimmed_mean(lengths)
    shape = lengths / average - 1 if policy is Policy.DUE else np.log(lengths / average)
    limit = budget * float(np.quantile(fcfs, quantile))
    best, fastest = 0.0, float(fcfs.mean())
    for step in _STEPS:
        latency = replayed(served, step * wait * shape, slots)
        # The least patience is always allowed: it moves nobody far, and in a burst, where any patience means the same
        # order, none at all would give up everything for a tail that is not there.
        if step > _STEPS[0] and np.quantile(latency, quantile) > limit:
            break
        if latency.mean() < fastest:
            best, fastest = step, float(latency.mean())
    return patience_of(best * wait / average)


def _some_wait(waited: FloatArray, ran: FloatArray) -> bool:
    return trimmed_mean(waited) > _NOTHING_WAITS * trimmed_mean(waited + ran)


def trimmed_mean(values: FloatArray) -> float:
    """The mean without the largest hundredth: reports come from strangers, and no one of them may decide."""
    return float(np.sort(values)[: len(values) - len(values) // 100].mean())


def slots_of(served: ServedRequests) -> int:
    """How many requests ran at a time while others waited, at least 1."""
    start = served.arrival + served.waited
    end = start + served.ran
    starts, ends = np.sort(start), np.sort(end)
    beside = np.searchsorted(starts, start, side="right") - np.searchsorted(ends, start, side="right")
    waited = served.waited > 0
    # The first and last of the window ran beside others that are not in it: the common case counts, not the mean.
    return max(1, round(float(np.quantile(beside[waited] if waited.any() else beside, 0.9))))


def replayed(served: ServedRequests, head_start: FloatArray, slots: int) -> FloatArray:
    """Latencies, seconds, [n], of a queue that serves the earliest ``arrival + head_start`` by so many slots."""
    arrival, ran = served.arrival.tolist(), served.ran.tolist()
    key = (served.arrival + head_start).tolist()
    end = [0.0] * len(arrival)
    waiting: list[tuple[float, int]] = []
    running: list[float] = []
    come = 0
    while come < len(arrival) or running:
        if come < len(arrival) and (not running or arrival[come] <= running[0]):
            now = arrival[come]
            heapq.heappush(waiting, (key[come], come))
            come += 1
        else:
            now = heapq.heappop(running)
        while waiting and len(running) < slots:
            who = heapq.heappop(waiting)[1]
            end[who] = now + ran[who]
            heapq.heappush(running, end[who])
    return np.array(end) - served.arrival
