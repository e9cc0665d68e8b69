"""A burst, as in the paper: everything arrives at once, answers have heavy tails. Part of the study."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rankd.errors import ConfigError
from rankd.replay.engine.cost import step_cost
from rankd.replay.policies.by_name import simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.trace.trace import Trace

REQUESTS = 2000
TAUS = (0.0, 0.3, 0.55, 0.65, 1.0)


def lognormal(sigma: float) -> Trace:
    """Lengths with a heavy tail, median 100 tokens."""
    output = np.exp(np.log(100) + sigma * np.random.default_rng(0).standard_normal(REQUESTS))
    return _burst(np.clip(np.rint(output), 1, 8000).astype(np.int64))


def burst(traces: Iterable[tuple[str, Trace]], slots: int) -> str:
    """A table: how many times smaller latency per token is than under arrival order, by tau, for the default policy."""
    head = " | ".join(f"tau {tau:g}: mean, p90" for tau in TAUS)
    lines = [f"| lengths | {head} | shortest first, true lengths |", "|---|" + "---|" * (len(TAUS) + 1)]
    drawn = [(name, _burst(np.random.default_rng(0).choice(trace.output, REQUESTS))) for name, trace in traces]
    for name, trace in [*drawn, ("log-normal, sigma 1.2", lognormal(1.2)), ("log-normal, sigma 1.5", lognormal(1.5))]:
        fcfs = _per_token(trace, None, "fcfs", slots)
        cells = [_ratio(fcfs, _per_token(trace, tau, "boost", slots)) for tau in TAUS]
        cells.append(_ratio(fcfs, _per_token(trace, None, "oracle", slots)))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _burst(output: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Trace:
    return Trace(np.zeros(len(output)), np.zeros(len(output), dtype=np.int64), output)


def _per_token(trace: Trace, tau: float | None, policy: str, slots: int) -> tuple[float, float]:
    scores = None if tau is None else _reachable(trace, tau)
    result = simulate(trace, scores, policy, step_cost(slots)).result
    per_token = (result.finish - result.arrival) / trace.output
    return float(per_token.mean()), float(np.quantile(per_token, 0.9))


def _reachable(trace: Trace, tau: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scores of a tau; the best there is where many equal lengths leave less."""
    try:
        return scores_of_tau(trace.output, tau)
    except ConfigError:
        return scores_of_tau(trace.output, 1.0)


def _ratio(fcfs: tuple[float, float], own: tuple[float, float]) -> str:
    return f"{fcfs[0] / own[0]:.1f}x, {fcfs[1] / own[1]:.1f}x"
