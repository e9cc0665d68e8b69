"""A burst, as in the paper and as a batch has it: everything arrives at once. Part of the study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.policies.results import markdown, number
from rankd.errors import ConfigError
from rankd.replay.engine.cost import EngineCost, step_cost
from rankd.replay.policies.by_name import needs_scores, simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.trace.trace import Floats, Trace

REQUESTS = 2000
TAU = 0.55
POLICIES = ("fcfs", "balanced", "mean", "first", "makespan", "prompt-work", "oracle", "oracle-longest")
ENGINES = {"model": EngineCost(), "steps": step_cost(16)}


@dataclass(frozen=True, slots=True)
class Burst:
    """A trace all at once on an engine: by policy, when half and when all were done, and per-token latency."""

    trace: str
    engine: str
    half: dict[str, float]
    done: dict[str, float]
    per_token: dict[str, float]
    """The mean."""

    def over_longest(self, policy: str) -> float:
        """When all were done, over longest first with true lengths."""
        return self.done[policy] / self.done["oracle-longest"]


def lognormal(sigma: float) -> Trace:
    """Lengths with a heavy tail, median 100 tokens, prompts of a median of 400."""
    rng = np.random.default_rng(0)
    output = np.clip(np.rint(np.exp(np.log(100) + sigma * rng.standard_normal(REQUESTS))), 1, 8000)
    prompt = np.clip(np.rint(np.exp(np.log(400) + rng.standard_normal(REQUESTS))), 1, 16_000)
    return Trace(np.zeros(REQUESTS), prompt.astype(np.int64), output.astype(np.int64))


def bursts(traces: Iterable[tuple[str, Trace]]) -> list[Burst]:
    """Of every trace, and of lengths with heavy tails, on both engines."""
    given = [(name, trace.first(REQUESTS).burst()) for name, trace in traces]
    made = [("log-normal, sigma 1.2", lognormal(1.2)), ("log-normal, sigma 1.5", lognormal(1.5))]
    return [_burst(name, trace, engine) for name, trace in [*given, *made] for engine in ENGINES]


def _burst(name: str, trace: Trace, engine: str) -> Burst:
    half, done, per_token = {}, {}, {}
    scores = _reachable(trace, TAU)
    for policy in POLICIES:
        result = simulate(trace, scores if needs_scores(policy) else None, policy, ENGINES[engine]).result
        finish = np.sort(result.finish)
        half[policy], done[policy] = float(finish[len(finish) // 2]), float(finish[-1])
        per_token[policy] = float(((result.finish - result.arrival) / trace.output).mean())
    return Burst(name, engine, half, done, per_token)


def table(found: Iterable[Burst]) -> str:
    """Until all are done over longest first with true lengths; until half are, and per token, over arrival order."""
    rows = []
    for burst in found:
        cells = [number(burst.over_longest(p), 3) for p in ("makespan", "fcfs", "balanced", "first")]
        cells += [number(burst.half[p] / burst.half["fcfs"]) for p in ("first", "balanced", "oracle")]
        cells += [
            f"{burst.per_token['fcfs'] / burst.per_token[p]:.1f}x" for p in ("balanced", "mean", "first", "oracle")
        ]
        rows.append([burst.trace, burst.engine, *cells])
    heads = [
        "trace", "engine", "all: makespan", "arrival order", "balanced", "first",
        "half, over arrival order: first", "balanced", "least true work",
        "faster per token: balanced", "mean", "first", "least true work",
    ]  # fmt: skip
    return markdown(heads, rows)


def _reachable(trace: Trace, tau: float) -> Floats:
    """Scores of a tau; the best there is where many equal lengths leave less."""
    try:
        return scores_of_tau(trace.output, tau)
    except ConfigError:
        return scores_of_tau(trace.output, 1.0)
