"""The policy in force: what the settings, the trust in a ranker and the backlog make of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rankd_client.ordering import (
    AdaptiveRules,
    LearnedCosts,
    Objective,
    OrderColumns,
    Policy,
    Rules,
    policy_for,
)
from rankd_client.ordering.objectives import PATIENT, TUNED
from rankd_client.ordering.serving_keys import filled, lengths_of

from rankd.monitor.trust import Trust
from rankd.settings import OrderSection
from rankd.types import Reason


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What orders a model's queue now: the same for an answer, for QualityService and for the status page."""

    objective: Objective
    """What is ordered for: what the call or the settings name."""
    wanted: Policy
    """The one that the call, a pilot or the settings name, or that follows from the objective."""
    policy: Policy
    """The one to follow: ``wanted``, or FCFS where the ranker is not trusted."""
    reason: Reason
    """Why it is not the wanted one, or prompts alone order: GUARD or RANKER_UNAVAILABLE. NONE where neither is so."""
    rules: Rules
    """The policy with everything on top of it, for this trust and backlog."""
    adaptive_rules: AdaptiveRules
    """What ``rules`` were made from, for whoever knows the backlog better."""
    learned: LearnedCosts
    """What is known of the model's requests, patience tuned for the wanted policy included."""


def in_force(
    order: OrderSection,
    trust: Trust,
    wanted: Policy | None = None,
    backlog_tokens: float = 0.0,
    *,
    objective: Objective | None = None,
) -> EffectivePolicy:
    """The policy in force.

    Args:
        order: the settings.
        trust: in the ranker, on this model.
        wanted: the policy that the call or a pilot asks for; None for the configured one, or what the objective takes.
        backlog_tokens: output tokens still to be made for what waits, as ``backlog_of`` gives; 0 where not known.
        objective: what the call asks the queue to be ordered for; None for the configured one.
    """
    return InForce(order)(trust, wanted, backlog_tokens, objective)


_MOST_KEPT = 64
"""Answers of ``InForce`` that are kept: of served models, and of what their callers ask for."""


class InForce:
    """Policies in force under the same settings. It is asked at each call, and keeps what the same inputs gave."""

    def __init__(self, order: OrderSection) -> None:
        """Take the settings, which do not change."""
        self._order = order
        self._adaptive: dict[tuple[Policy | None, Objective | None], AdaptiveRules] = {}
        self._kept: dict[object, tuple[object, EffectivePolicy]] = {}

    def __call__(
        self, trust: Trust, wanted: Policy | None, backlog_tokens: float, objective: Objective | None
    ) -> EffectivePolicy:
        """As ``in_force``."""
        asked = wanted, objective
        adaptive_rules = self._adaptive.get(asked)
        if adaptive_rules is None:
            adaptive_rules = self._adaptive[asked] = adaptive_rules_of(self._order, wanted, objective)
        load = trust.load
        drain = trust.drain(backlog_tokens)
        key = asked, id(load)
        # All that is learned of the model's requests comes from these; values are replaced and not changed.
        basis = trust, load, drain, load.costs, load.mean_prompt, load.prompt_cost, load.outcomes
        kept = self._kept.get(key)
        if kept is not None and kept[0] == basis:
            return kept[1]
        effective = _effective(adaptive_rules, trust, wanted, drain, self._costs(trust, adaptive_rules))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = (*basis[:-1], load.outcomes.copy()), effective
        return effective

    def _costs(self, trust: Trust, adaptive_rules: AdaptiveRules) -> LearnedCosts:
        # What was tuned is the configured policy's: patience has another meaning under each.
        order = self._order
        tuned = adaptive_rules.rules.policy.value == order.policy
        return trust.learned(policy_tuned=tuned, prompt_cost=order.prompt_cost if order.prompt_cost >= 0 else None)


def _effective(
    adaptive_rules: AdaptiveRules, trust: Trust, wanted: Policy | None, drain: float | None, learned: LearnedCosts
) -> EffectivePolicy:
    objective = adaptive_rules.objective
    base = adaptive_rules.rules.policy
    wanted = wanted or policy_for(objective, base)
    level = trust.level if wanted is not Policy.FCFS else 0.0
    trusted = trust.level > 0
    scores_count = trusted and not trust.ignores_lengths
    rules = adaptive_rules.at(level, drain, learned)
    return EffectivePolicy(
        objective=objective,
        wanted=wanted,
        policy=wanted if trusted else Policy.FCFS,
        reason=Reason.NONE if scores_count or wanted is Policy.FCFS else _why_not_ranked(trust),
        rules=rules,
        adaptive_rules=adaptive_rules,
        learned=learned,
    )


def adaptive_rules_of(order: OrderSection, policy: Policy | None, objective: Objective | None) -> AdaptiveRules:
    """The settings as the code that orders takes them, with what a call asks for in place of what is configured.

    A policy that is asked for says it all, but for how much patience: no objective makes another one of it.
    """
    configured = Policy(order.policy)
    if policy is None:
        # Who asks for an objective means one, whatever is configured.
        policy = configured if objective is None or configured in PATIENT else Policy.BOOST
        objective = objective or Objective(order.objective)
    elif objective is None or objective not in TUNED:
        objective = Objective(order.objective)
        objective = objective if objective in TUNED or policy not in PATIENT else Objective.BALANCED
    classes = tuple((number, Objective(name)) for number, name in sorted(order.class_objectives.items()))
    return AdaptiveRules(
        Rules(
            policy=policy,
            prompt_cost=max(order.prompt_cost, 0.0),
            patience=order.patience_per_token,
            age_exponent=order.age_exponent,
            risk=order.risk,
            wait_cap=order.wait_cap or math.inf,
            overtake_cap=order.overtake_cap,
            class_step=order.class_step if order.classes == "weighted" else None,
            pace=order.pace_per_token,
            fair_tenants=order.fair_tenants,
            prompt_weight=order.prompt_weight,
            running_first=order.running_first,
        ),
        objective=objective,
        class_objectives=classes if policy in PATIENT else (),
        learn_prompt_cost=order.prompt_cost < 0,
        backlog_share=order.patience_backlog_share,
        most_patience=order.max_patience_per_token,
        cap_share=order.wait_cap_backlog_share,
    )


def _why_not_ranked(trust: Trust) -> Reason:
    return Reason.GUARD if trust.worth_waiting else Reason.RANKER_UNAVAILABLE


def backlog_of(queue: OrderColumns, trust: Trust, beside: int = 0) -> float:
    """Expected output tokens that are still to be made for a queue; 0 where nothing is known.

    A queue of one says nothing by itself: its caller asks about requests one by one, whatever else waits. The lengths
    here are expectations, whatever ``order.risk`` adds to those that requests are ordered by: a sum of them is meant.

    Args:
        queue: what the caller asks about.
        trust: in the ranker, on this model.
        beside: requests that wait beside it, as the caller says; each counts as one of average length.
    """
    mean = trust.calibration.mean_expected if trust.calibration is not None else None
    others = beside * (mean or 0.0)
    if len(queue) < 2 and not beside:
        return 0.0
    lengths = lengths_of(queue)
    if np.isnan(lengths).all():
        return others
    lengths = filled(lengths, queue, mean)
    if queue.generated is not None:
        lengths = np.maximum(lengths - queue.generated, 0.0)
    return others + float(lengths.sum())
