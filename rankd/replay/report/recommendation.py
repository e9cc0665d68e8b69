"""Which objective to order for: chosen from the front by what it saves and what it asks of the slowest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankd.replay.report.front import OBJECTIVES, FrontPoint
from rankd.replay.report.report import ReplayReport

EAGER = ("tail", "balanced", "mean", "first")
"""Objectives that trade the slowest against the average, the most careful first."""
LEAST_SAVING = 0.01
"""Share of the mean latency: a smaller saving is none ..."""
LEAST_PER_TOKEN = 0.05
"""... unless the 90th percentile per token or the mean time to the first token falls by more than this share."""
TAIL_PRICE = 0.25
"""What p99 counts for against the mean: a hundredth off the mean is worth four hundredths on p99 ..."""
FAIR_P99 = 1.5
"""... up to this multiple of arrival order's: more is not recommended where less was to be had ..."""
FAIR_QUARTER = 1.4
"""... nor a quarter of the requests whose mean latency grows beyond this multiple."""
SAME = 0.01
"""Differences of ratios that do not count: of such objectives the configured one is taken."""
NEAR_TARGET = 0.001
"""Shares of requests within a target that differ by less are the same."""


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """Who keeps a service level objective."""

    target: str
    """As it was given."""
    share: float
    """Of the requests that must be within it."""
    shares: dict[str, float]
    """Of the requests that are within it: in arrival order (``fcfs``) and for every objective."""

    @property
    def kept_by(self) -> tuple[str, ...]:
        """The objectives that keep it, arrival order left out."""
        return tuple(n for n, share in self.shares.items() if share >= self.share and n != "fcfs")

    @property
    def kept_in_arrival_order(self) -> bool:
        """Whether nothing need be done to keep it."""
        return self.shares["fcfs"] >= self.share


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The objective to order for, and what else could be chosen."""

    objective: str | None
    """None: leave it in arrival order."""
    point: FrontPoint | None
    """What it gives and costs."""
    configured: bool
    """Whether the daemon does so with its present settings."""
    alternatives: tuple[FrontPoint, ...]
    """Other objectives that gain, each at another price."""
    target: TargetOutcome | None


def recommend(report: ReplayReport) -> Recommendation:
    """Choose an objective from those that were replayed.

    Without a target it takes the one with the best of mean and p99 together (``TAIL_PRICE``) among those that are fair
    to the slowest, and the configured one where no other is better by ``SAME``. With a target it takes the least mean
    latency among those that keep it, or who comes nearest.
    """
    points = [p for p in report.front if p.objective is not None]
    target = _target(report, points)
    candidates = [p for name in EAGER for p in points if p.policy == name and gains(p)]
    own = report.point(report.own)
    best = _fairest(candidates, own) if target is None else _within(points, target)
    alternatives = () if best is None else tuple(p for p in candidates if p is not best and _another_price(p, best))
    configured = best is not None and best is own
    return Recommendation(None if best is None else best.policy, best, configured, alternatives, target)


def gains(point: FrontPoint) -> bool:
    """Whether the average request has something of it."""
    saves = point.mean < 1 - LEAST_SAVING
    sooner = min(point.per_token_p90, point.first_token) < 1 - LEAST_PER_TOKEN
    return saves or (sooner and point.mean <= 1 + LEAST_SAVING)


def _fairest(candidates: Sequence[FrontPoint], own: FrontPoint | None) -> FrontPoint | None:
    """The best of mean and p99 together; where none is fair to the slowest, the least p99."""
    if not candidates:
        return None
    fair = [p for p in candidates if p.p99 <= FAIR_P99 and p.worst_quarter.mean <= FAIR_QUARTER]
    if not fair:
        return min(candidates, key=lambda p: p.p99)
    best = min(fair, key=_price)
    return own if own in fair and _price(own) <= _price(best) + SAME else best


def _price(point: FrontPoint) -> float:
    return point.mean + TAIL_PRICE * max(point.p99 - 1, 0.0)


def _within(points: Sequence[FrontPoint], target: TargetOutcome) -> FrontPoint | None:
    """The least mean among those that keep a target, else who keeps it for most; None where that is arrival order."""
    keeps = [p for p in points if p.policy in target.kept_by]
    if keeps:
        best = min(keeps, key=lambda p: p.mean)
        # Among equals the objective that goes on looking at the target.
        best = next((p for p in keeps if p.policy == "slo" and _same(p, best)), best)
        return best if gains(best) or not target.kept_in_arrival_order else None
    most = max(points, key=lambda p: (target.shares[p.policy], -p.mean), default=None)
    if most is None or target.kept_in_arrival_order:
        return None
    return most if target.shares[most.policy] > target.shares["fcfs"] + NEAR_TARGET else None


def _another_price(point: FrontPoint, best: FrontPoint) -> bool:
    """Whether there is a reason to choose it in the place of what is recommended."""
    return point.mean < best.mean - SAME or point.p99 < best.p99 - SAME / TAIL_PRICE


def _same(one: FrontPoint, other: FrontPoint) -> bool:
    return all(abs(a - b) <= SAME for a, b in ((one.mean, other.mean), (one.p99, other.p99)))


def _target(report: ReplayReport, points: Sequence[FrontPoint]) -> TargetOutcome | None:
    target, fcfs = report.plan.target, report.point("fcfs")
    if target is None or fcfs is None:
        return None
    in_order = sorted(points, key=lambda p: OBJECTIVES.index(p.policy))
    shares = {p.policy: p.slo_share for p in (fcfs, *in_order) if p.slo_share is not None}
    return TargetOutcome(report.plan.settings.order.slo, target.share, shares)
