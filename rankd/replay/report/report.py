"""A whole replay: one trace under several policies, what it comes to, and the verdict in words."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from rankd.quality.statistics.kendall import tau_b
from rankd.replay.engine.cost import capacity, offered_load
from rankd.replay.plan import ReplayPlan
from rankd.replay.policies.by_name import ReplayedPolicy, needs_scores, simulate
from rankd.replay.policies.traffic import LearnedTraffic
from rankd.replay.report.front import FrontPoint, front_of
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
    has_prompts: bool
    """Whether any request has prompt tokens."""
    cached: float | None
    """Share of the prompt tokens that the prefix cache held; None where the trace does not tell."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found."""

    plan: ReplayPlan
    facts: TraceFacts
    source: ScoreSource
    figures: list[PolicyFigures]
    """Of every policy. The daemon's own has them twice where it follows an objective: under that name, too."""
    front: tuple[FrontPoint, ...]
    """The same policies, each once, as ratios to arrival order."""
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
    def own(self) -> str:
        """The name of the daemon's own policy on the front: its objective's, where it follows one."""
        return self.plan.own

    @property
    def shown(self) -> list[PolicyFigures]:
        """Figures of every policy once, as on the front."""
        return [self.of(point.policy) for point in self.front]

    @property
    def learned(self) -> LearnedTraffic | None:
        """What the daemon's own policy learned of the traffic; None where nothing was to be learned."""
        return self.replayed[self.own].learned

    def point(self, policy: str) -> FrontPoint | None:
        """The place of a policy on the front; None where it was not replayed."""
        return next((point for point in self.front if point.policy == policy), None)

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
    fcfs, oracle = replayed["fcfs"], replayed["oracle"]
    found = [figures(plan.trace, r, fcfs, oracle, plan.target) for r in replayed.values()]
    known = np.isfinite(plan.scores)
    tau = tau_b(plan.scores[known], plan.trace.output[known].astype(np.float64)) if known.any() else None
    seconds = time.perf_counter() - began
    has_loads = plan.trace.span > 0 and plan.trace.first(SWEPT_REQUESTS).span > 0
    return ReplayReport(
        plan,
        _facts(plan),
        ScoreSource(plan.origin.kind, plan.origin.name, tau),
        found,
        front_of(found, plan.policy, plan.objective),
        replayed,
        seconds,
        tau_sweep(plan) if plan.sweeps else None,
        load_sweep(plan) if plan.sweeps and has_loads else None,
    )


def _replay(plan: ReplayPlan) -> dict[str, ReplayedPolicy]:
    """The trace under each policy; the daemon's own is what its objective makes of it, and replayed once for both."""
    own = plan.own
    names = list(dict.fromkeys(["fcfs", own, *(n for n in plan.policies if n != plan.policy), "oracle"]))
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
    # Under the policy's own name as well: that is what the settings call it.
    return {"fcfs": replayed["fcfs"], plan.policy: replace(replayed[own], policy=plan.policy)} | replayed


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
        has_prompts=bool(trace.prompt.any()),
        cached=None if trace.cached is None else float(trace.cached.sum() / max(trace.prompt.sum(), 1)),
    )
