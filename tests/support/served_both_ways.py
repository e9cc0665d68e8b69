"""Traffic that a simulated engine served in an order, and the same in arrival order: what ranking really saved."""

from dataclasses import dataclass

import numpy as np

from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.engine.engine import SimulationResult, run
from rankd.replay.policies.baselines import FixedKey
from rankd.replay.trace.trace import Trace

ENGINE = EngineCost(slots=16, base=0.02, per_sequence=0.0003, per_prompt_token=0.00005, chunk=512)


@dataclass
class ServedBothWays:
    """A trace with what became of it."""

    trace: Trace
    ranked: SimulationResult
    first_come: SimulationResult

    @property
    def rows(self):
        """Arrival, wait, run, output and prompt tokens by arrival, [n, 5]."""
        trace, seen = self.trace, self.ranked
        waited, ran = seen.start - trace.arrival, seen.finish - seen.start
        return np.array([trace.arrival, waited, ran, trace.output, trace.prompt], dtype=np.float64).T

    @property
    def saved(self):
        """Of each request, seconds, [n]."""
        return self.first_come.finish - self.ranked.finish


def served_both_ways(key, load=1.05, requests=1500, seed=0, cost=ENGINE, burst=False):
    """Serve made-up requests by ``key(trace, expected)``, the lowest first, and by arrival."""
    rng = np.random.default_rng(seed)
    output = np.clip(rng.lognormal(5.3, 1.0, requests), 1, 3000).astype(np.int64)
    prompt = np.clip(rng.lognormal(6.0, 1.0, requests), 1, 4000).astype(np.int64)
    trace = at_load(Trace(np.cumsum(rng.exponential(1, requests)), prompt, output), cost, load)
    if burst:
        trace = Trace(np.sort(rng.uniform(0, 1, requests)), prompt, output)
    expected = output * np.exp(0.5 * rng.standard_normal(requests))
    orders = FixedKey(trace, np.asarray(key(trace, expected), dtype=np.float64)), FixedKey(trace, trace.arrival)
    return ServedBothWays(trace, *(run(trace, order, cost) for order in orders))


def boosted(trace, expected):
    """Arrival, and patience for the logarithm of what is expected."""
    return trace.arrival + 8 * np.log(expected)


def shuffled(trace, expected):
    """A useless ranker with patience."""
    return trace.arrival + 8 * np.log(np.random.default_rng(7).permutation(expected))


def by_arrival(trace, _expected):
    """First come, first served."""
    return trace.arrival


def shortest(_trace, expected):
    """What is expected to be shortest first, however long others wait."""
    return expected


def against(trace, expected):
    """The longest first, with patience."""
    return trace.arrival - 8 * np.log(expected)
