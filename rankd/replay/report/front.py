"""The front: what each policy gives and costs, as ratios to arrival order, and which of them others do better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rankd_client.ordering import Objective

from rankd.replay.report.metrics import PolicyFigures, RequestGroup

OBJECTIVES = tuple(objective.value for objective in Objective)
_KNOW_LENGTHS = frozenset({"oracle", "oracle-boost", "oracle-due", "oracle-longest", "sjf", "srpt"})
"""Policies that know what nobody can: they show what is possible, and push nobody off the front."""
MARGIN = 0.005
"""How much better, as a ratio to arrival order, another must be in one figure to be better at all."""


@dataclass(frozen=True, slots=True)
class GroupRatio:
    """What a group of requests pays."""

    by: str
    """``output`` or ``prompt``: what the quarters are of."""
    name: str
    mean: float
    """Its mean latency over the same requests' in arrival order."""


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One policy; ratios to arrival order, where less is better."""

    policy: str
    objective: str | None
    """The objective that it follows; None for policies that are none of the daemon's objectives."""
    mean: float
    """Mean latency."""
    first_token: float
    """Mean time to the first token."""
    per_token_p90: float
    """90th percentile of latency per output token."""
    p99: float
    max: float
    makespan: float
    """Until all requests are done, from the first arrival on."""
    worst_quarter: GroupRatio
    """Of the quarters by answer and by prompt length the one whose mean latency grows most."""
    slo_share: float | None
    """Share of requests within the target; None where there is none."""
    dominated_by: str | None = None
    """Another policy that is better in mean and p99; None: it is on the front."""

    @property
    def possible(self) -> bool:
        """Whether a daemon could do so: no true lengths are needed."""
        return self.policy.partition(":")[0] not in _KNOW_LENGTHS


def front_of(figures: Sequence[PolicyFigures], own_policy: str, own_objective: str | None) -> tuple[FrontPoint, ...]:
    """A point for every policy; the daemon's own only once, under the name of its objective where it has one.

    Args:
        figures: of all policies, FCFS among them.
        own_policy: the daemon's own.
        own_objective: what it is configured for; None where its policy is not set by one.
    """
    (fcfs,) = (f for f in figures if f.policy == "fcfs")
    points = [_point(f, fcfs) for f in figures if f.policy != own_policy or own_objective is None or f is fcfs]
    return tuple(replace(p, dominated_by=dominating(p, points, "mean", "p99")) for p in points)


def dominating(point: FrontPoint, points: Sequence[FrontPoint], *names: str) -> str | None:
    """The policy that is no worse in any of the named figures and better in one; None where there is none.

    Of several, the one with the least of the first figure.
    """
    own = [getattr(point, name) for name in names]
    found: list[tuple[float, str]] = []
    for other in points:
        theirs = [getattr(other, name) for name in names]
        pairs = list(zip(theirs, own, strict=True))
        if other.possible and all(a <= b for a, b in pairs) and any(a < b - MARGIN for a, b in pairs):
            found.append((theirs[0], other.policy))
    return min(found)[1] if found else None


def _point(own: PolicyFigures, fcfs: PolicyFigures) -> FrontPoint:
    return FrontPoint(
        policy=own.policy,
        objective=own.policy if own.policy in OBJECTIVES else None,
        mean=own.latency.mean / fcfs.latency.mean,
        first_token=own.first_token.mean / fcfs.first_token.mean,
        per_token_p90=own.per_token.p90 / fcfs.per_token.p90,
        p99=own.latency.p99 / fcfs.latency.p99,
        max=own.latency.max / fcfs.latency.max,
        makespan=own.makespan / fcfs.makespan,
        worst_quarter=_worst(own),
        slo_share=own.slo_share,
    )


def _worst(own: PolicyFigures) -> GroupRatio:
    quarters: list[tuple[str, RequestGroup]] = [("output", g) for g in own.lengths] + [
        ("prompt", g) for g in own.prompts
    ]
    by, group = max(quarters, key=lambda found: found[1].mean_of_fcfs)
    return GroupRatio(by, group.name, group.mean_of_fcfs)
