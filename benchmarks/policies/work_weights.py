"""What a prompt token should count for: ``python -m benchmarks.policies.work_weights`` (ten minutes with traces).

The same queue, shortest expected work first, with weights from nothing to 1 beside the one that is learned: on engines
where slots limit (16 slots, every step a second, prompts for nothing), compute (64 slots, prompts cost time) and KV
memory (the same with 200,000 tokens). Lengths are known as a ranker with a tau of .5 knows them. Prints the table of
docs/science/work.md: ratios to arrival order of mean, median and 99th percentile of latency, and of mean time to first
token.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rankd_client.calibration import fit_monotone
from rankd_client.ordering import ServedRequest, ServedRequests, fit_costs

from rankd.replay.engine.cost import EngineCost, at_load, step_cost
from rankd.replay.engine.engine import SimulationResult, run
from rankd.replay.policies.baselines import FixedKey, KeyOrder
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.trace.files import TraceSelection, read_trace
from rankd.replay.trace.trace import Floats, Trace

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.26, 0.5, 1.0)
ENGINES = {"slots": step_cost(16), "compute": EngineCost(), "memory": EngineCost(kv_tokens=200_000)}
_TAU = 0.5
_WINDOW = 2000
"""Completions that costs are learned from."""


def made_up(requests: int) -> Trace:
    """Prompts of 2,000 tokens and answers of 200 in the mean, that come at random."""
    rng = np.random.default_rng(5)
    prompt, output = (np.ceil(rng.lognormal(-0.5, 1.0, requests) * mean) for mean in (2000, 200))
    arrival = np.cumsum(rng.exponential(1.0, requests))
    return Trace(arrival, prompt.astype(np.int64), output.astype(np.int64))


def traces(folder: Path | None, requests: int) -> Iterator[tuple[str, Trace]]:
    """Traces of a folder with what is cached taken off their prompts, or a made-up one."""
    if folder is None:
        yield "made up", made_up(requests)
        return
    for path in sorted(folder.glob("*.csv.gz")):
        trace = read_trace(TraceSelection([path])).trace.first(requests)
        yield path.name.partition(".")[0], Trace(trace.arrival, np.maximum(trace.uncached, 1), trace.output)


def learned_weight(trace: Trace, served: SimulationResult) -> float:
    """What the latest completions of a run say; NaN where they say nothing."""
    last = np.argsort(served.finish, kind="stable")[-_WINDOW:]
    start, output = served.start[last], trace.output[last].astype(np.float64)
    rows = zip(
        served.arrival[last].tolist(),
        (start - served.arrival[last]).tolist(),
        (served.finish[last] - start).tolist(),
        output.tolist(),
        output.tolist(),
        trace.prompt[last].tolist(),
        strict=True,
    )
    costs = fit_costs(ServedRequests.of(ServedRequest(*row) for row in rows))
    return float("nan") if costs is None else costs.prompt_cost


def figures(served: SimulationResult) -> Floats:
    """Mean, median and 99th percentile of latency, and mean time to first token."""
    latency = served.finish - served.arrival
    first = float((served.first_token - served.arrival).mean())
    return np.array([latency.mean(), np.median(latency), np.quantile(latency, 0.99), first])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.work_weights", description=__doc__.partition(":")[0]
    )
    parser.add_argument("--traces", type=Path, help="folder of traces; without, a made-up one")
    parser.add_argument("--requests", type=int, default=3000, help="of each trace, the first; default: 3000")
    parser.add_argument("--load", type=float, default=1.02, help="offered load; default: 1.02")
    options = parser.parse_args()
    print("| engine | trace | " + " | ".join(f"w = {weight:g}" for weight in WEIGHTS) + " | learned w |")
    print("|---" * (len(WEIGHTS) + 3) + "|")
    for name, asked in traces(options.traces, options.requests):
        for engine, cost in ENGINES.items():
            if cost.kv_tokens and int((asked.prompt + asked.output).max()) >= cost.kv_tokens:
                continue
            trace = at_load(asked, cost, options.load)
            scores = scores_of_tau(trace.output, _TAU)
            calibration = fit_monotone(scores, trace.output, np.ones(len(trace), dtype=np.bool_)).rising()
            expected = calibration.expected(scores)
            arrival_order = run(trace, KeyOrder(trace), cost)
            weight = learned_weight(trace, arrival_order)
            cells = []
            for tried in (*WEIGHTS, weight):
                served = run(trace, FixedKey(trace, expected + tried * trace.prompt), cost)
                cells.append(", ".join(f"{v:.2f}" for v in figures(served) / figures(arrival_order)))
            cells[-1] = f"{weight:.3f}: {cells[-1]}"
            print(f"| {engine} | {name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
