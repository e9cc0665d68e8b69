"""A whole replay: one trace under several policies, what it comes to, and the verdict in words."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from rankd.quality.statistics.kendall import tau_b
from rankd.replay.engine.cost import capacity, offered_load
from rankd.replay.plan import ReplayPlan
from rankd.replay.policies.by_name import ReplayedPolicy, needs_scores, simulate
from rankd.replay.report.metrics import PolicyFigures, figures
from rankd.replay.report.sweep import SWEPT_REQUESTS, LoadSweep, TauSweep, load_sweep, tau_sweep


@dataclass(frozen=True, slots=True)
class ScoreSource:
    """Where scores come from."""

    kind: str
    """trace, ranker, or synthetic."""
    name: str
    """Of the ranker; empty otherwise."""
    tau: float | None
    """Their tau-b with the true lengths; None where that is not defined."""


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """The trace as it was replayed."""

    name: str
    requests: int
    span: float
    """Seconds."""
    load: float | None
    """Offered, as a share of what the engine can do; None for a burst."""
    capacity: float
    """Requests per second that the engine can serve of such."""
    input_mean: float
    output_mean: float
    output_p50: float
    output_p99: float
    arrivals: str
    """As in the trace, or how they were changed."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found."""

    plan: ReplayPlan
    facts: TraceFacts
    source: ScoreSource
    figures: list[PolicyFigures]
    replayed: dict[str, ReplayedPolicy]
    seconds: float
    """That the replays took, without the sweeps."""
    tau_sweep: TauSweep | None = None
    load_sweep: LoadSweep | None = None

    @property
    def policy(self) -> str:
        """The policy that is judged: the daemon's own."""
        return self.plan.policy

    @property
    def steps(self) -> bool:
        """Whether seconds are engine steps."""
        return self.plan.steps

    def of(self, policy: str) -> PolicyFigures:
        """The figures of a policy.

        Raises:
            KeyError: it was not replayed.
        """
        for found in self.figures:
            if found.policy == policy:
                return found
        raise KeyError(policy)


def make_report(plan: ReplayPlan) -> ReplayReport:
    """Replay a trace under policies; FCFS, the daemon's own and the oracle are always among them.

    Raises:
        ValueError: the engine's memory cannot hold the largest request.
    """
    began = time.perf_counter()
    replayed = _replay(plan)
    found = [figures(plan.trace, r, replayed["fcfs"], replayed["oracle"]) for r in replayed.values()]
    known = np.isfinite(plan.scores)
    tau = tau_b(plan.scores[known], plan.trace.output[known].astype(np.float64)) if known.any() else None
    seconds = time.perf_counter() - began
    has_loads = plan.trace.span > 0 and plan.trace.first(SWEPT_REQUESTS).span > 0
    return ReplayReport(
        plan,
        _facts(plan),
        ScoreSource(plan.origin.kind, plan.origin.name, tau),
        found,
        replayed,
        seconds,
        tau_sweep(plan) if plan.sweeps else None,
        load_sweep(plan) if plan.sweeps and has_loads else None,
    )


def _replay(plan: ReplayPlan) -> dict[str, ReplayedPolicy]:
    """The trace under each policy."""
    names = list(dict.fromkeys(["fcfs", plan.policy, *plan.policies, "oracle"]))
    count = len(plan.trace)
    replayed: dict[str, ReplayedPolicy] = {}
    for number, policy in enumerate(names):

        def on_progress(done: int, policy: str = policy, before: int = number * count) -> None:
            plan.report_progress("replaying", policy, before + done, len(names) * count)

        replayed[policy] = simulate(
            plan.trace,
            plan.scores if needs_scores(policy) else None,
            policy,
            plan.cost,
            settings=plan.settings,
            ranker=plan.ranker,
            on_progress=on_progress,
        )
        on_progress(count)
    return replayed


def _facts(plan: ReplayPlan) -> TraceFacts:
    trace = plan.trace
    p50, p99 = np.quantile(trace.output, (0.5, 0.99)).tolist()
    load = offered_load(trace, plan.cost)
    return TraceFacts(
        name=plan.name,
        requests=len(trace),
        span=trace.span,
        load=load if np.isfinite(load) else None,
        capacity=capacity(trace, plan.cost),
        input_mean=float(trace.prompt.mean()),
        output_mean=float(trace.output.mean()),
        output_p50=p50,
        output_p99=p99,
        arrivals=plan.arrivals,
    )
