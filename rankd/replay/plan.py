"""What is to be replayed, on which engine, under which policies, as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rankd_client.ordering import LatencyTarget, Objective, Policy, parse_target
from rankd_client.ordering.objectives import PATIENT

from rankd.replay.engine.cost import EngineCost
from rankd.replay.policies.by_name import RankerPrior
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import Settings

OnProgress = Callable[[str, str, int, int], None]
"""Called with the stage, what of it is being done, how much is done, and of how much in all."""


@dataclass(frozen=True, slots=True)
class ScoreOrigin:
    """Where scores come from."""

    kind: Literal["trace", "ranker", "synthetic"]
    name: str = ""
    """Of the ranker; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """One replay. ``rankd.replay.report.report.make_report`` runs it."""

    name: str
    """Of the trace."""
    trace: Trace
    """At the speed that it is to be replayed at."""
    scores: Floats
    """The ranker's, [requests]; NaN: none."""
    origin: ScoreOrigin
    cost: EngineCost
    settings: Settings = field(default_factory=Settings)
    """The daemon's. Their ``order.policy`` is the policy that is judged."""
    policies: Sequence[str] = ()
    """Names as ``by_name.simulate`` takes them, beside FCFS, the judged one and the oracle; ``compared`` knows those
    that a recommendation takes."""
    ranker: RankerPrior = field(default_factory=RankerPrior)
    """What is known of the ranker beforehand."""
    steps: bool = False
    """Whether seconds are engine steps."""
    arrivals: str = "as in the trace"
    """How they were changed."""
    notes: Sequence[str] = ()
    """What was taken for granted while reading."""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By what they tell, the columns that the trace was read from, as its files call them."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Rows that are not in the trace, by reason."""
    sweeps: bool = False
    """Whether a part of the trace is also replayed at many loads and with rankers of many qualities."""
    seed: int = 0
    """Of the rankers of many qualities."""
    on_progress: OnProgress | None = None

    @property
    def policy(self) -> str:
        """The policy that is judged: the daemon's own."""
        return self.settings.order.policy

    @property
    def objective(self) -> str | None:
        """What the daemon's own policy is set by; None for a policy that was chosen for its own sake."""
        return self.settings.order.objective if Policy(self.policy) in PATIENT else None

    @property
    def own(self) -> str:
        """The name to replay the daemon's own policy by: its objective's, where it follows one."""
        return self.objective or self.policy

    @property
    def target(self) -> LatencyTarget | None:
        """The service level objective; None where none is configured."""
        return parse_target(self.settings.order.slo) if self.settings.order.slo else None

    def report_progress(self, stage: str, what: str, done: int, total: int) -> None:
        """Call ``on_progress``, where there is one."""
        if self.on_progress is not None:
            self.on_progress(stage, what, done, total)


def compared(settings: Settings, *, burst: bool) -> tuple[str, ...]:
    """The policies that a recommendation takes: every objective that may suit, the paper's rule and UniBoost.

    Args:
        settings: the daemon's: the objective that they name is compared in any case, `slo` where they have a target.
        burst: whether all requests arrive at once: only then objectives for a whole batch make sense unasked.
    """
    batch = {"makespan", "first"}
    asked = {settings.order.objective, *({"slo"} if settings.order.slo else ())}
    asked |= {"tail", "balanced", "mean"} | (batch if burst else set())
    return (*(o.value for o in Objective if o.value in asked), "paper", "uniboost")
