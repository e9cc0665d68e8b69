"""A whole replay: one trace under several policies, what it comes to, and the verdict in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rankd.quality.statistics.kendall import tau_b
from rankd.replay.engine.cost import EngineCost, capacity, offered_load
from rankd.replay.policies.by_name import RankerPrior, ReplayedPolicy, needs_scores, simulate
from rankd.replay.report.metrics import PolicyFigures, figures
from rankd.replay.report.sweep import LoadSweep, TauSweep
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import Settings

Tell = Callable[[str, int, int], None]
"""Told which policy is being replayed, how many requests are done in all, of how many."""


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


@dataclass
class ReplayReport:
    """Everything that is told."""

    facts: TraceFacts
    cost: EngineCost
    steps: bool
    """Whether seconds are engine steps."""
    source: ScoreSource
    policy: str
    """The one that is judged: the daemon's own."""
    figures: list[PolicyFigures]
    replayed: dict[str, ReplayedPolicy]
    settings: Settings
    tau_sweep: TauSweep | None = None
    load_sweep: LoadSweep | None = None
    seconds: float = 0.0
    """That the replays took."""
    notes: list[str] = field(default_factory=list)
    """What was taken for granted while reading."""

    def of(self, policy: str) -> PolicyFigures:
        """The figures of a policy.

        Raises:
            KeyError: it was not replayed.
        """
        for found in self.figures:
            if found.policy == policy:
                return found
        raise KeyError(policy)


def make_report(
    name: str,
    trace: Trace,
    scores: Floats,
    source: tuple[str, str],
    policies: Sequence[str],
    cost: EngineCost,
    settings: Settings,
    *,
    ranker: RankerPrior | None = None,
    steps: bool = False,
    arrivals: str = "as in the trace",
    tell: Tell | None = None,
) -> ReplayReport:
    """Replay a trace under policies; FCFS, the daemon's own and the oracle are always among them.

    Args:
        name: of the trace.
        trace: the trace, at the speed that it is to be replayed at.
        scores: the ranker's, [n].
        source: kind and name of where scores come from.
        policies: names as ``policies.simulate`` takes them.
        cost: the engine.
        settings: the daemon's.
        ranker: what is known of the ranker beforehand.
        steps: whether seconds are engine steps.
        arrivals: how they were changed.
        tell: told of the progress.

    Raises:
        ValueError: the engine's memory cannot hold the largest request.
    """
    own = settings.order.policy
    names = list(dict.fromkeys(["fcfs", own, *policies, "oracle"]))
    total, began = len(names) * len(trace), time.perf_counter()
    replayed: dict[str, ReplayedPolicy] = {}
    for number, policy in enumerate(names):
        before = number * len(trace)

        def on_progress(done: int, policy: str = policy, before: int = before) -> None:
            if tell is not None:
                tell(policy, before + done, total)

        given = scores if needs_scores(policy) else None
        replayed[policy] = simulate(
            trace, given, policy, cost, settings=settings, ranker=ranker, on_progress=on_progress
        )
        on_progress(len(trace))
    found = [figures(trace, replayed[p], replayed["fcfs"], replayed["oracle"]) for p in names]
    known = np.isfinite(scores)
    tau = tau_b(scores[known], trace.output[known].astype(np.float64)) if known.any() else None
    return ReplayReport(
        facts=_facts(name, trace, cost, arrivals),
        cost=cost,
        steps=steps,
        source=ScoreSource(*source, tau=tau),
        policy=own,
        figures=found,
        replayed=replayed,
        settings=settings,
        seconds=time.perf_counter() - began,
    )


def _facts(name: str, trace: Trace, cost: EngineCost, arrivals: str) -> TraceFacts:
    p50, p99 = np.quantile(trace.output, (0.5, 0.99)).tolist()
    load = offered_load(trace, cost)
    return TraceFacts(
        name=name,
        requests=len(trace),
        span=trace.span,
        load=load if np.isfinite(load) else None,
        capacity=capacity(trace, cost),
        input_mean=float(trace.prompt.mean()),
        output_mean=float(trace.output.mean()),
        output_p50=p50,
        output_p99=p99,
        arrivals=arrivals,
    )
