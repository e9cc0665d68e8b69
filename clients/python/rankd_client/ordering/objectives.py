"""What a queue is ordered for, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rankd_client.ordering.rules import Objective, Policy

PATIENT = (Policy.BOOST, Policy.DUE)
"""Policies that have a patience to be tuned."""
TUNED = (Objective.TAIL, Objective.BALANCED, Objective.MEAN, Objective.SLO)
"""Objectives that say how much of it."""
IMPATIENCE = {Objective.TAIL: 1.0, Objective.BALANCED: 2.0, Objective.MEAN: 8.0, Objective.SLO: 2000.0}
"""Patience before any was tuned, as multiples of the configured share of the backlog's drain time.

Shortest first for SLO: what waits is hardly ever long then, and who is to be careful is soon told.
"""


def policy_for(objective: Objective, policy: Policy) -> Policy:
    """The policy that follows an objective, where ``policy`` is the configured one.

    A policy without patience was chosen for its own sake, and stays.
    """
    if policy not in PATIENT:
        return policy
    return {Objective.FIRST: Policy.SCORE, Objective.MAKESPAN: Policy.LONGEST}.get(objective, policy)


@dataclass(frozen=True, slots=True)
class TailLimits:
    """How much longer than in arrival order the slowest may take, as ratios of latencies."""

    p99: float
    most: float
    """Of the very slowest."""


LIMITS = {
    Objective.TAIL: TailLimits(1.15, 1.5),
    Objective.BALANCED: TailLimits(1.25, 2.0),
    Objective.MEAN: TailLimits(2.0, 3.0),
}


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """A service level objective: a share of requests within so many seconds."""

    share: float
    """0 to 1."""
    seconds: float
    first_token: bool = False
    """To the first token; else to the end."""


_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_TARGET = re.compile(
    rf"(?P<share>{_NUMBER}) ?% (?:of requests )?(?P<first>(?:to )?(?:the )?first token )?"
    rf"within (?P<number>{_NUMBER}) ?(?P<unit>ms|s|min)"
)
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}


def parse_target(text: str) -> LatencyTarget:
    """A target as people write it: ``99 % within 30 s``, ``95 % first token within 800 ms``.

    Raises:
        ValueError: it is none; the message shows how one looks.
    """
    found = _TARGET.fullmatch(" ".join(text.lower().split()))
    if found is None or not 0 < float(found["share"]) < 100 or not float(found["number"]) > 0:
        raise ValueError(
            f"must be like '99 % within 30 s' or '95 % first token within 800 ms' (a share above 0 and below 100 %, a "
            f"time above 0 in ms, s or min), not {text!r}"
        )
    seconds = float(found["number"]) * _SECONDS[found["unit"]]
    return LatencyTarget(round(float(found["share"]) / 100, 9), seconds, first_token=found["first"] is not None)
