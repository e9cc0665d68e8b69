"""Coverage of the intervals of saved seconds: ``python -m benchmarks.savings_coverage [RUNS]`` (10 minutes at 400).

Each run serves made-up requests on a simulated engine that the estimate knows nothing of: an iteration's time depends
on the batch, prompts are read in chunks beside others, memory for keys and values may be what is short, the pace
wanders, and requests may go unreported. It serves them once in the order of a policy, whose completions up to some
moment are what a daemon would know, and once in arrival order, which is the truth. Prints the tables of
docs/science/savings.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import ServedRequests, fit_costs

from rankd.quality.savings.estimate import figures_of, statistic_of
from rankd.quality.savings.replayed_pair import replay_both
from rankd.quality.savings.sample import SavingsSample
from rankd.quality.savings.values import LatencyMeasure, LatencyStatistic
from rankd.ranking.savings import state_of
from rankd.replay.engine.cost import TICKS, EngineCost, at_load
from rankd.replay.engine.engine import SimulatedEngine, SimulationResult
from rankd.replay.policies.baselines import FixedKey
from rankd.replay.trace.trace import Trace

Floats = NDArray[np.float64]

ENGINES = {
    "16 slots": (EngineCost(slots=16, base=0.02, per_sequence=0.0003, per_prompt_token=0.00005, chunk=512), 0.05),
    "64 slots": (EngineCost(slots=64, base=0.015, per_sequence=0.00015, per_prompt_token=0.0001, chunk=2048), 0.1),
    "memory": (EngineCost(slots=256, per_prompt_token=0.00004, kv_tokens=64000), 0.05),
    "wandering": (EngineCost(slots=32, base=0.02, per_sequence=0.0005, per_prompt_token=0.0001, chunk=1024), 0.3),
}
"""Each with how far its pace wanders: the standard deviation of its logarithm, by 5 seconds."""
_WANDERS_EVERY = 5.0
POLICIES = ("boost", "boost", "boost", "due", "score", "fcfs")
LOADS = (0.7, 0.85, 0.92, 0.97, 1.0, 1.05, 1.2)
NOISE = (0.4, 0.8, 1.5, math.inf)
"""Of scores beside the logarithm of the length; infinite: a useless ranker."""


class WanderingEngine(SimulatedEngine):
    """An engine whose pace wanders by the clock, whatever it serves."""

    def __init__(self, trace: Trace, order: FixedKey, cost: EngineCost, wanders: float, seed: int) -> None:
        """Take how far its pace wanders."""
        super().__init__(trace, order, cost)
        self._wanders, self._seed = wanders, seed
        self._steady = self._base, self._per_sequence, self._per_prompt
        self._paces: dict[int, float] = {}

    def _follow_pace(self) -> None:
        block = int(self._now / TICKS / _WANDERS_EVERY)
        if block not in self._paces:
            noise = np.random.default_rng((self._seed, block)).standard_normal()
            self._paces[block] = math.exp(self._wanders * noise)
        self._base, self._per_sequence, self._per_prompt = (int(t * self._paces[block]) for t in self._steady)

    def _advance(self, count: int) -> None:
        while count > 0:
            self._follow_pace()
            super()._advance(min(count, 64))
            count -= 64

    def _iterate(self) -> None:
        self._follow_pace()
        super()._iterate()


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is served, how, and what of it is known."""

    engine: str
    policy: str
    load: float
    swings: float
    """Of the load, over its mean."""
    noise: float
    unreported: float
    """Share of requests."""
    requests: int
    window: int
    """Completions that the daemon remembers."""
    burst: bool
    """All come within a second."""

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Scenario:
        """One of them."""
        return cls(
            engine=str(rng.choice(list(ENGINES))),
            policy=str(rng.choice(POLICIES)),
            load=float(rng.choice(LOADS)),
            swings=float(rng.choice((0, 0.3, 0.6))),
            noise=float(rng.choice(NOISE)),
            unreported=float(rng.choice((0, 0, 0.1, 0.3))),
            requests=int(rng.choice((3000, 5000))),
            window=int(rng.choice((1500, 4000))),
            burst=bool(rng.random() < 0.1),
        )

    def trace(self, rng: np.random.Generator) -> Trace:
        """Its requests."""
        n = self.requests
        output = np.clip(rng.lognormal(math.log(220), 1.0, n), 1, 4000).astype(np.int64)
        prompt = np.clip(rng.lognormal(math.log(500), 1.0, n), 1, 4000).astype(np.int64)
        gaps = rng.exponential(1, n)
        at = np.cumsum(gaps) / n
        gaps /= 1 + self.swings * np.sin(2 * np.pi * at * rng.uniform(1, 4) + rng.uniform(0, 6))
        noise = rng.standard_normal(n)
        score = noise if math.isinf(self.noise) else np.log(output) + self.noise * noise
        arrival = np.sort(rng.uniform(0, 1, n)) if self.burst else np.cumsum(gaps)
        trace = Trace(arrival, prompt, output, score=score)
        return trace if self.burst else at_load(trace, ENGINES[self.engine][0], self.load)

    def keys(self, trace: Trace) -> Floats:
        """What requests are served by, the lowest first."""
        assert trace.score is not None
        expected = 300 * np.exp(trace.score - trace.score.mean())
        keys = {
            "fcfs": trace.arrival,
            "score": expected,
            "due": trace.arrival + 0.03 * expected,
            "boost": trace.arrival + 8 * np.log(expected),
        }
        return np.asarray(keys[self.policy], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one figure."""

    truth: float
    value: float
    low: float
    high: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth, but for rounding."""
        return self.low - 1e-6 <= self.truth <= self.high + 1e-6


@dataclass(frozen=True, slots=True)
class RunResult:
    """One scenario, and its figures by measure and statistic; none where nothing could be said."""

    scenario: Scenario
    exact: bool = False
    state: str = "learning"
    figures: dict[tuple[str, str], Outcome] | None = None


def run(seed: int) -> RunResult:
    """Serve a scenario both ways, estimate, and compare."""
    rng = np.random.default_rng(seed)
    scenario = Scenario.drawn(rng)
    trace = scenario.trace(rng)
    cost, wanders = ENGINES[scenario.engine]
    ranked, first_come = (
        WanderingEngine(trace, FixedKey(trace, keys), cost, wanders, seed).run()
        for keys in (scenario.keys(trace), trace.arrival)
    )
    known, since, now = _known(scenario, ranked, rng)
    if len(known) < 2:
        return RunResult(scenario)
    columns = (trace.arrival, ranked.start - trace.arrival, ranked.finish - ranked.start, trace.output, trace.prompt)
    rows = np.array([column[known] for column in columns], dtype=np.float64).T
    arrival, waited, ran, output, prompt = rows.T
    costs = fit_costs(ServedRequests(arrival, waited, ran, output, output, prompt))
    pair = replay_both(SavingsSample.of(rows, since), costs, now, bounded=scenario.policy != "score")
    if pair is None:
        return RunResult(scenario)
    compared = known[(arrival >= pair.stretch.since) & (arrival <= pair.stretch.until)]
    found, figures = figures_of(pair), {}
    for one in found.latencies:
        truth = _truth(one.measure, one.statistic, trace, ranked, first_come, compared)
        outcome = Outcome(truth, one.saved.value, one.saved.low, one.saved.high)
        figures[one.measure.value, one.statistic.value] = outcome
    return RunResult(scenario, pair.exact, state_of(found).value, figures)


def _known(
    scenario: Scenario, ranked: SimulationResult, rng: np.random.Generator
) -> tuple[NDArray[np.int64], float, float]:
    """Which requests a daemon knows, by arrival, since when all, and the time."""
    reported = rng.random(scenario.requests) >= scenario.unreported
    now = float(np.quantile(ranked.finish, rng.uniform(0.5, 1)))
    if rng.random() < 0.2:
        now = float(ranked.finish.max() + rng.choice((0, 300)))
    known = np.flatnonzero(reported & (ranked.finish <= now))
    known = known[np.argsort(ranked.finish[known], kind="stable")]
    since = -math.inf if len(known) <= scenario.window else float(ranked.finish[known[-scenario.window - 1]])
    return np.sort(known[-scenario.window :]), since, now


def _truth(
    measure: LatencyMeasure,
    statistic: LatencyStatistic,
    trace: Trace,
    ranked: SimulationResult,
    first_come: SimulationResult,
    compared: NDArray[np.int64],
) -> float:
    """What was really saved of one figure."""
    figures = []
    for result in (first_come, ranked):
        ends = result.first_token if measure is LatencyMeasure.FIRST_TOKEN else result.finish
        values = (ends - trace.arrival)[compared]
        if measure is LatencyMeasure.PER_TOKEN:
            values = values / trace.output[compared]
        figures.append(statistic_of(statistic, values))
    return figures[0] - figures[1]


def _print_coverage(results: list[RunResult]) -> None:
    told = [r for r in results if r.figures is not None and not r.exact]
    print(
        f"\n{len(told)} runs\n\n| measure | statistic | covered | typical reach over what is saved |\n|---|---|---|---|"
    )
    for measure in LatencyMeasure:
        for statistic in LatencyStatistic:
            outcomes = [r.figures[measure.value, statistic.value] for r in told if r.figures is not None]
            covered = np.mean([o.covered for o in outcomes])
            reach = np.median([(o.high - o.low) / 2 / max(abs(o.truth), 1e-9) for o in outcomes if o.truth])
            print(f"| {measure.value} | {statistic.value} | {covered:.1%} | {reach:.2f} |")


def _print_groups(results: list[RunResult]) -> None:
    print("\n| runs of | runs | learning | arrival order, exact | mean covered | gains said | of these untrue |")
    print("|---|---|---|---|---|---|---|")
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for result in results:
        scenario = result.scenario
        useless = "a useless ranker" if math.isinf(scenario.noise) else "a ranker"
        unreported = f"{scenario.unreported:.0%} unreported"
        for name in ("all", scenario.engine, scenario.policy, f"load {scenario.load}", useless, unreported):
            groups[name].append(result)
    for name, members in groups.items():
        told = [r.figures["end_to_end", "mean"] for r in members if r.figures is not None and not r.exact]
        exact = sum(r.exact for r in members)
        gains = [r for r in members if r.state == "gains" and r.figures is not None]
        untrue = sum(r.figures["end_to_end", "mean"].truth <= 0 for r in gains if r.figures is not None)
        covered = f"{np.mean([o.covered for o in told]):.1%} of {len(told)}" if told else "-"
        learning = sum(r.figures is None for r in members)
        print(f"| {name} | {len(members)} | {learning} | {exact} | {covered} | {len(gains)} | {untrue} |")


def main() -> None:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("runs", nargs="?", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.runs)
    with ProcessPoolExecutor(args.workers) as pool:
        results = list(pool.map(run, seeds, chunksize=4))
    _print_groups(results)
    _print_coverage(results)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
