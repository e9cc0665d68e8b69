"""Whether prompts alone should order: how their tau stands, and whether what is expected of answers adds to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rankd.quality.guard_evidence import PromptEvidence
from rankd.quality.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class PromptStanding:
    """What looks at prompts alone have led to."""

    proven: bool = False
    """They order well by themselves: where scores may not, they do instead of arrival."""
    better: bool = False
    """They order better than together with what is expected of answers, which counts for nothing meanwhile."""
    tau_low: float | None = None
    """Lower bound of their tau when it was last evidence; None before."""

    def check(self) -> None:
        """Refuse what no guard ever stands at.

        Raises:
            ValueError: naming what cannot be.
        """
        if self.tau_low is not None and not -1 <= self.tau_low <= 1:
            raise ValueError("the lower bound of tau must be in -1 to 1")
        if self.proven and self.tau_low is None:
            raise ValueError("prompts are proven by a tau")


@dataclass(frozen=True, slots=True)
class PromptJudgement:
    """A standing, and how many looks in a row speak for a change of it. A look makes a new one."""

    standing: PromptStanding = field(default_factory=PromptStanding)
    good: int = 0
    bad: int = 0
    harmful: int = 0
    """Looks at which what is expected of answers made the order worse."""
    helpful: int = 0

    def looked(self, evidence: PromptEvidence, *, floor: float, good: float, confirm: int) -> PromptJudgement:
        """Take evidence; a tenant's word alone changes nothing.

        Args:
            evidence: of enough requests, with a tau.
            floor: below it an order is none.
            good: above it one is proven.
            confirm: looks in a row that must agree.
        """
        tau, difference = evidence.tau.tau, evidence.difference
        assert tau is not None
        now = PromptJudgement(
            self.standing,
            self.good + 1 if min(tau.low, *evidence.without, math.inf) > good else 0,
            self.bad + 1 if max(tau.high, *evidence.without, -math.inf) < floor else 0,
            self.harmful + 1 if difference and max(difference.high, *evidence.differences_without, -9) < 0 else 0,
            self.helpful + 1 if difference and min(difference.low, *evidence.differences_without, 9) > 0 else 0,
        )
        standing = PromptStanding(
            proven=now.good >= confirm or (self.standing.proven and now.bad < confirm),
            better=now.harmful >= confirm or (self.standing.better and now.helpful < confirm),
            tau_low=supported_lower_bound(tau, evidence.without, self.standing.tau_low),
        )
        return replace(now, standing=standing)

    def unclear(self) -> PromptJudgement:
        """Nothing could be told: no reason to change anything, and confirming starts anew."""
        return PromptJudgement(self.standing)

    def scores_fell(self) -> PromptJudgement:
        """Scores were found to be of no use."""
        return PromptJudgement(replace(self.standing, better=True))

    def scores_recovered(self, confirm: int) -> PromptJudgement:
        """Scores were found to be of use again, unless by the latest looks prompts alone still do better."""
        return PromptJudgement(replace(self.standing, better=self.harmful >= confirm))


def supported_lower_bound(tau: Interval, without: Sequence[float], before: float | None) -> float:
    """The lower bound of tau, moved from ``before`` only as far as the evidence says so without any one tenant, too."""
    width = tau.value - tau.low
    lows = [tau.low, *(t - width for t in without)]
    return min(max(math.inf if before is None else before, min(lows)), max(lows))
