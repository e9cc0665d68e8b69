"""How busy a served model is: its service rate, what requests wait, and the patience that was tuned for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from rankd_client.ordering import Objective, ObjectiveOutcome, Policy, ServedRequest, ServiceCosts, ServiceRate
from rankd_client.ordering.objectives import IMPATIENCE, PATIENT
from rankd_client.ordering.service_costs import PRIOR_PROMPT_COST

from rankd.monitor.saving import SavingHistory
from rankd.monitor.supported import ServedHistory, TenantValues
from rankd.settings import OrderSection
from rankd.types import FloatArray

_SHORT_WAIT = 10.0
"""Seconds."""
_SHORT_LENGTH = 256.0
"""Tokens."""
_UNTUNED_WEIGHT = 256
"""Requests that queued which the patience without a tuning counts for."""
_QUEUED = 0.5
"""Who waited for more than this share of the time that it ran says something of patience."""
_LEAST_SHARE = 0.01
"""Of a finding of no patience at all, where it is drawn to another."""
_FIRST_FIT = 64
"""Completions before costs are first learned."""
_BETWEEN_FITS = 500
"""Completions between two fits, at most, where patience is not tuned."""
_BOUNDED = frozenset((Policy.FCFS, Policy.AGED))
_UNBOUNDED = frozenset((Objective.FIRST, Objective.MAKESPAN))
_MOST_PATIENCE = 4.0
"""Of what requests wait in arrival order: with more for an average request, a long one may wait for ever."""
_FIRST_TUNING = 128
"""Completions before patience is first tuned."""


class WaitingTimes:
    """The mean of recent waiting times, without the largest twentieth: no report moves it far, and no tenant."""

    def __init__(self) -> None:
        """Start without any."""
        self._values = TenantValues(_SHORT_WAIT)
        self._mean: float | None = None
        self._stale = False

    def add(self, seconds: float, tenant: str = "") -> None:
        """Note one."""
        self._values.add(seconds, tenant)
        self._stale = True

    @property
    def mean(self) -> float | None:
        """Seconds; None where none was reported."""
        if self._stale:
            counted = sorted(self._values.all_counted())
            kept = counted[: len(counted) - len(counted) // 20]
            self._mean, self._stale = sum(kept) / len(kept), False
        return self._mean


class ServiceLengths:
    """What a completion counts for in the rate at which a model is served, output tokens."""

    def __init__(self) -> None:
        """Start without any."""
        self._values = TenantValues(_SHORT_LENGTH)

    def counted(self, tokens: float, tenant: str) -> float:
        """Note one, and say what it counts for: of one tenant no more than a few times what the others report."""
        self._values.add(tokens, tenant)
        return self._values.counted(tokens, tenant)


@dataclass(slots=True, eq=False)
class ModelLoad:
    """How busy one served model is, by what was reported of it. Each is equal to itself only."""

    rate: ServiceRate = field(default_factory=ServiceRate)
    wait: WaitingTimes = field(default_factory=WaitingTimes)
    history: ServedHistory = field(default_factory=ServedHistory)
    lengths: ServiceLengths = field(default_factory=ServiceLengths)
    reports: int = 0
    """Completions that were learned from."""
    outcomes: dict[Objective, ObjectiveOutcome] = field(default_factory=dict)
    """What replaying the history found for each objective; empty where nothing is known."""
    costs: ServiceCosts | None = None
    """What the engine takes for a request; None where nothing is known."""
    mean_prompt: float = 0.0
    """Uncached prompt tokens of an average request; 0 where they are not counted."""
    prompt_cost: float = PRIOR_PROMPT_COST
    """What an uncached prompt token counts for, in output tokens: half of each finding."""
    taken: int = 0
    """Completions that went into the history."""
    queued: int = 0
    """Of these, who waited for a good part of the time that they ran."""
    tuned_at: int = 0
    """Of these, at the last tuning."""
    fitted_at: int = 0
    """Of these, when costs were last learned."""
    saving: SavingHistory = field(default_factory=SavingHistory)
    """What ranking saved recent completions."""

    def reported(self, now: float) -> None:
        """Take word of a completion, whether its times are known or not."""
        self.reports += 1
        self.saving.reported(now)

    def take(self, served: ServedRequest, tenant: str = "") -> None:
        """Take a completion whose times are known; the empty name stands for all that have no tenant."""
        self.history.add(served, tenant)
        self.saving.add(served, tenant)
        self.taken += 1
        self.queued += served.waited > _QUEUED * served.ran

    def patience(self, objective: Objective) -> float | None:
        """What replaying the history found for an objective, seconds per token; None where nothing is known."""
        outcome = self.outcomes.get(objective)
        return None if outcome is None else outcome.patience

    def bounds_waits(self, order: OrderSection) -> bool:
        """Whether the configured order lets nobody wait for ever, while others keep coming."""
        policy = Policy(order.policy)
        if policy not in PATIENT:
            return policy in _BOUNDED
        outcome = self.outcomes.get(Objective(order.objective))
        share = order.patience_backlog_share if outcome is None else outcome.backlog_share
        return Objective(order.objective) not in _UNBOUNDED and share <= _MOST_PATIENCE

    def fit_due(self, order: OrderSection) -> bool:
        """Whether it is time to learn costs: early, and then ever more rarely, up to every tuning."""
        return self.taken >= _FIRST_FIT and self.taken - self.fitted_at >= min(
            max(self.fitted_at // 2, _FIRST_FIT // 2), order.tune_every or _BETWEEN_FITS
        )

    def tune_due(self, order: OrderSection) -> bool:
        """Whether it is time to tune the patience of the configured policy: early, then ever more rarely."""
        if order.tune_every == 0 or Policy(order.policy) not in PATIENT:
            return False
        return self.taken - self.tuned_at >= min(max(self.tuned_at, _FIRST_TUNING), order.tune_every)

    def tuned(self, outcomes: dict[Objective, ObjectiveOutcome], untuned: float) -> None:
        """Take what a tuning found: half of it, as one window is one sample of the traffic; nothing keeps the old.

        A few hundred completions may all be from before the queue grew, and say that no patience is worth anything. So
        they are drawn to what holds without a tuning, which counts for ``_UNTUNED_WEIGHT`` requests that queued.

        Args:
            outcomes: what was found; that of SLO is taken whole, as half way between two orders keeps no target.
            untuned: the configured patience for a request of average work, as a share of the backlog's drain time.
        """
        weight = self.queued / (self.queued + _UNTUNED_WEIGHT)
        for objective, found in outcomes.items():
            if objective is Objective.SLO:
                self.outcomes[objective] = found
                continue
            new, before = found, untuned * IMPATIENCE.get(objective, 0.0)
            if before > 0:
                share = before ** (1 - weight) * max(found.backlog_share, _LEAST_SHARE) ** weight
                moved = share / found.backlog_share if found.backlog_share > 0 else 0.0
                new = replace(found, patience=found.patience * moved, backlog_share=share)
            old = self.outcomes.get(objective, new)
            self.outcomes[objective] = replace(
                new,
                patience=_between(old.patience, new.patience),
                backlog_share=_between(old.backlog_share, new.backlog_share),
            )

    def fitted(self, costs: ServiceCosts | None, prompts: FloatArray) -> None:
        """Take what was learned of costs, from requests of so many uncached prompt tokens (NaN: not counted)."""
        if costs is not None:
            self.costs = costs
            # Of the first hundreds, where prompts are read all the time, a fit may be far off.
            self.prompt_cost = (self.prompt_cost + costs.prompt_cost) / 2
        counted = prompts[~np.isnan(prompts)]
        self.mean_prompt = float(counted.mean()) if len(counted) else 0.0


def _between(old: float, new: float) -> float:
    """Half way: by ratio, as patience may be anything from a moment to shortest first; none at all has no ratio."""
    return math.sqrt(old * new) if old > 0 and new > 0 else (old + new) / 2
