"""What a better ranker would buy, and from which load on ranking pays: replays of a part of the trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankd.errors import ConfigError
from rankd.replay.engine.cost import at_load
from rankd.replay.plan import ReplayPlan
from rankd.replay.policies.by_name import simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.report.metrics import latency
from rankd.replay.trace.trace import Floats

TAUS = (-0.3, 0.0, 0.2, 0.4, 0.55, 0.7, 0.85, 1.0)
LOADS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1)
SWEPT_REQUESTS = 3000
"""First requests of the trace that are replayed for every point."""
PAYS = 0.05
"""Share of the mean latency that ranking must save to pay."""


@dataclass(frozen=True, slots=True)
class TauPoint:
    """One quality of the ranker; latencies in seconds."""

    tau: float
    mean: float
    p99: float
    per_token: float
    """Mean latency over output tokens."""


@dataclass(frozen=True, slots=True)
class TauSweep:
    """The policy in use with rankers of many qualities, and both ends: no ranking and true lengths."""

    policy: str
    requests: int
    fcfs: TauPoint
    oracle: TauPoint
    """Shortest true length first."""
    points: tuple[TauPoint, ...]


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load; latencies in seconds."""

    load: float
    fcfs: float
    mean: float
    """Under the policy in use."""
    oracle: float
    p99_of_fcfs: float
    """This p99 as a share of FCFS's."""


@dataclass(frozen=True, slots=True)
class LoadSweep:
    """The policy in use at many loads."""

    policy: str
    requests: int
    points: tuple[LoadPoint, ...]
    pays_from: float | None
    """The load from which on the policy saves ``PAYS`` of the mean, between the points on a line; None: at none."""


def tau_sweep(plan: ReplayPlan) -> TauSweep:
    """Replay the first requests with scores of many qualities, under the policy that is judged."""
    part = plan.trace.first(SWEPT_REQUESTS)
    total = len(TAUS) + 2

    def point(name: str, tau: float, scores: Floats | None, done: int) -> TauPoint:
        found = latency(simulate(part, scores, name, plan.cost, settings=plan.settings))
        plan.report_progress("sweeps", "rankers", done, total)
        mean, p99 = float(found.mean()), float(np.quantile(found, 0.99))
        return TauPoint(tau, mean, p99, float((found / part.output).mean()))

    fcfs, oracle = point("fcfs", 0.0, None, 1), point("oracle", 1.0, None, 2)
    points = []
    for number, tau in enumerate(TAUS):
        try:
            scores = scores_of_tau(part.output, tau, plan.seed)
        except ConfigError:
            continue  # so many equal lengths that no scores have such a tau
        points.append(point(plan.own, tau, scores, number + 3))
    return TauSweep(plan.own, len(part), fcfs, oracle, tuple(points))


def load_sweep(plan: ReplayPlan) -> LoadSweep:
    """Replay the first requests at many loads, whatever the speed of the trace.

    Raises:
        ValueError: all requests arrive at once.
    """
    part, scores = plan.trace.first(SWEPT_REQUESTS), plan.scores[:SWEPT_REQUESTS]
    points = []
    for number, load in enumerate(LOADS):
        here = at_load(part, plan.cost, load)
        found = [
            latency(simulate(here, scores, name, plan.cost, settings=plan.settings, ranker=plan.ranker))
            for name in ("fcfs", plan.own, "oracle")
        ]
        means = [float(values.mean()) for values in found]
        tails = [float(np.quantile(values, 0.99)) for values in found]
        points.append(LoadPoint(load, means[0], means[1], means[2], tails[1] / tails[0]))
        plan.report_progress("sweeps", "loads", number + 1, len(LOADS))
    return LoadSweep(plan.own, len(part), tuple(points), pays_from(points))


def pays_from(points: list[LoadPoint]) -> float | None:
    """The least load from which on, at all points above, the policy saves ``PAYS`` of the mean."""
    saved = [1 - p.mean / p.fcfs for p in points]
    start = len(points)
    while start and saved[start - 1] >= PAYS:
        start -= 1
    if start == len(points):
        return None
    if start == 0:
        return points[0].load
    below, above = saved[start - 1], saved[start]
    return points[start - 1].load + (points[start].load - points[start - 1].load) * (PAYS - below) / (above - below)
