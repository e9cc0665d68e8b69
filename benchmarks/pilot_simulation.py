"""A queue under a switchback, to see what the statistics of a pilot are worth where the effect is known.

Requests arrive at a rate that wanders (a log-normal autoregression, so that busy times last for several slots), a
number of servers serves one each to its end, and the waiting ones are ordered by the arm of the present slot; they stay
when the slot ends and are ordered by the next, as in a real queue.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.pilot.latency import summarise
from rankd.pilot.schedule import Arm, Schedule

Floats = NDArray[np.float64]

_STEPS_PER_SLOT = 10
"""How often the arrival rate changes."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes to the queue. The unit of time is the mean time that a request is served."""

    load: float = 0.8
    """Mean arrival rate over what the servers can do."""
    servers: int = 8
    requests: float = 150.0
    """Mean arrivals per slot."""
    unrest: float = 0.25
    """Standard deviation of the logarithm of the arrival rate."""
    memory: float = 2.0
    """Slots after which the rate's autocorrelation is 1/e."""
    spread: float = 1.0
    """Standard deviation of the logarithm of a request's size."""
    washout: float = 0.2
    """Share of a slot that is not counted."""
    horizon: float = 1.0
    """Slots up to which latencies are distinguished."""

    @property
    def slot(self) -> float:
        """Length of a slot."""
        return self.requests / (self.load * self.servers)


@dataclass(frozen=True, slots=True)
class Orders:
    """θ of each arm, served by ``arrival + θ·size``: 0 is first come, first served, infinity shortest first."""

    control: float = 0.0
    treatment: float = math.inf


def slot_statistics(
    traffic: Traffic, orders: Orders, blocks: int, seed: int, *, swapped: bool = False
) -> tuple[Floats, Floats]:
    """Run a switchback of so many blocks.

    ``swapped`` runs the same traffic with the order in every block turned round: what would have been.

    Returns:
        Log of mean, p50, p90 and p99 per block, [blocks, 4]: of the control's slots, and of the treatment's.
    """
    rng = np.random.default_rng(seed)
    arms = [_arms(seed + part, min(blocks - part, 1000)) for part in range(0, blocks, 1000)]
    treated = np.concatenate(arms) ^ swapped
    arrival = _arrivals(traffic, len(treated), rng)
    size = np.exp(rng.normal(-(traffic.spread**2) / 2, traffic.spread, len(arrival)))
    slot = (arrival / traffic.slot).astype(np.int64)
    latency = _serve(arrival, size, orders, treated, traffic)
    counted = arrival - slot * traffic.slot >= traffic.washout * traffic.slot
    edges = np.searchsorted(slot[counted], np.arange(len(treated) + 1))
    counted_latency, horizon = latency[counted], traffic.horizon * traffic.slot
    logs = np.log([_figures(counted_latency[a:b], horizon) for a, b in itertools.pairwise(edges.tolist())])
    return logs[~treated], logs[treated]


def _figures(latency: Floats, horizon: float) -> Floats:
    if not len(latency):
        return np.ones(4)
    return summarise(latency, np.ones(len(latency), dtype=np.bool_), horizon)


def _arms(seed: int, blocks: int) -> NDArray[np.bool_]:
    schedule = Schedule(seed=seed, start=0.0, slot=1.0, washout=0.0, blocks=blocks)
    return np.array([schedule.arm(s) is Arm.TREATMENT for s in range(schedule.slots)])


def _arrivals(traffic: Traffic, slots: int, rng: np.random.Generator) -> Floats:
    """Arrival times, sorted: Poisson within steps of a rate that wanders."""
    steps = slots * _STEPS_PER_SLOT
    keep = math.exp(-1.0 / (traffic.memory * _STEPS_PER_SLOT))
    shocks = rng.normal(0.0, traffic.unrest * math.sqrt(1.0 - keep**2), steps).tolist()
    level, levels = float(rng.normal(0.0, traffic.unrest)), []
    for shock in shocks:
        level = keep * level + shock
        levels.append(level)
    rate = np.exp(np.array(levels) - traffic.unrest**2 / 2) * traffic.requests / _STEPS_PER_SLOT
    counts = rng.poisson(rate)
    step = np.repeat(np.arange(steps), counts)
    return np.sort(step + rng.random(len(step))) * (traffic.slot / _STEPS_PER_SLOT)


def _serve(arrival: Floats, size: Floats, orders: Orders, treated: NDArray[np.bool_], traffic: Traffic) -> Floats:
    """Latency of each request, by events: whenever a server is free, the first of the present order begins."""
    keys = [_keys(arrival, size, theta) for theta in (orders.control, orders.treatment)]
    times, sizes, arms = arrival.tolist(), size.tolist(), treated.tolist()
    waiting: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
    begun = bytearray(len(times))
    free = [0.0] * traffic.servers
    latency = [0.0] * len(times)
    following = waits = 0
    while following < len(times) or waits:
        now = free[0] if waits else max(free[0], times[following])
        while following < len(times) and times[following] <= now:
            for heap, key in zip(waiting, keys, strict=True):
                heapq.heappush(heap, (key[following], following))
            following += 1
            waits += 1
        if not waits:
            continue
        heap = waiting[arms[min(int(now / traffic.slot), len(arms) - 1)]]
        while begun[heap[0][1]]:
            heapq.heappop(heap)
        chosen = heapq.heappop(heap)[1]
        begun[chosen] = 1
        waits -= 1
        heapq.heapreplace(free, now + sizes[chosen])
        latency[chosen] = now + sizes[chosen] - times[chosen]
    return np.array(latency)


def _keys(arrival: Floats, size: Floats, theta: float) -> Sequence[float]:
    keys: list[float] = (size if math.isinf(theta) else arrival + theta * size).tolist()
    return keys
