"""Which policies are worth choosing: mean against p99, and who is dominated by whom, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.policies.results import StudyRows, number

TRUE = ("oracle", "oracle-boost", "srpt")
"""Know true lengths: nobody can follow them."""
SKIPPED = ("makespan",)
"""Meant for a batch, not for a queue."""
SLACK = 0.005
"""Two figures this near count as equal, as they do in the tables."""


@dataclass(frozen=True, slots=True)
class Point:
    """A policy by its medians, over arrival order's."""

    policy: str
    mean: float
    p99: float

    def dominates(self, other: Point) -> bool:
        """Whether it is no worse in both, and better in one."""
        no_worse = self.mean <= other.mean + SLACK and self.p99 <= other.p99 + SLACK
        return no_worse and (self.mean < other.mean - SLACK or self.p99 < other.p99 - SLACK)


def points(study: StudyRows, engine: str, load: float, tau: float) -> list[Point]:
    """All policies that can be followed."""
    found = []
    for policy in study.policies:
        if policy in TRUE or policy in SKIPPED:
            continue
        mean, p99 = (study.median(engine, load, tau, policy, figure) for figure in ("mean", "p99"))
        if not np.isnan(mean):
            found.append(Point(policy, mean, p99))
    return found


def front(study: StudyRows, engine: str, load: float, tau: float) -> str:
    """The front, and of every other policy which one is better in both."""
    every = points(study, engine, load, tau)
    best = sorted((p for p in every if not any(q.dominates(p) for q in every)), key=lambda p: p.mean)
    lines = [
        "On the front (mean, p99): " + "; ".join(f"{p.policy} ({number(p.mean)}, {number(p.p99)})" for p in best) + "."
    ]
    for point in sorted(every, key=lambda p: p.mean):
        if point in best:
            continue
        by = [p for p in best if p.dominates(point)] or [p for p in every if p.dominates(point)]
        names = ", ".join(f"{p.policy} ({number(p.mean)}, {number(p.p99)})" for p in by[:3])
        lines.append(f"- {point.policy} ({number(point.mean)}, {number(point.p99)}) is dominated by {names}.")
    return "\n".join(lines)


def standing(study: StudyRows, engine: str, load: float, tau: float, own: str, other: str) -> str | None:
    """How an order stands to another one, by mean and p99: ahead in both, behind, or neither; None without runs."""
    found = {p.policy: p for p in points(study, engine, load, tau)}
    ours, theirs = found.get(own), found.get(other)
    if ours is None or theirs is None:
        return None
    figures = f"{number(ours.mean)}, {number(ours.p99)} to {number(theirs.mean)}, {number(theirs.p99)}"
    if ours.dominates(theirs):
        return f"ahead ({figures})"
    return f"**behind** ({figures})" if theirs.dominates(ours) else f"neither ({figures})"
