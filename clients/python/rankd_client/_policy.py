"""The policy in force as plain values: enough to order without asking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rankd_client._messages import FROM_PROTO, OBJECTIVE_FROM_PROTO, reason_name, seconds_of
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import (
    AdaptiveRules,
    CostEstimate,
    LearnedCosts,
    Objective,
    ObjectiveOutcome,
    Policy,
    Rules,
    ServiceCosts,
)
from rankd_client.ordering.objectives import PATIENT
from rankd_client.v1 import quality_pb2


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """What orders queues now; enough to order without asking. ``patience`` in seconds per token.

    ``rules`` gives the rules for a backlog that the caller knows, the same as the daemon's.
    """

    model: str
    ranker_version: str
    policy: Policy
    reason: str
    patience: float
    calibration: Calibration | None
    trust: float = 0.0
    """In the ranker, on this model, 0 to 1."""
    adaptive_rules: AdaptiveRules | None = None
    """None from a daemon that publishes none."""
    tokens_per_second: float | None = None
    """That recent completions were made at."""
    mean_wait: float | None = None
    """Seconds that they waited."""
    tuned_patience: float | None = None
    """Seconds per token that replaying recent traffic found for the objective."""
    objective: Objective | None = None
    """What queues are ordered for; None from a daemon that knows of none."""
    learned: LearnedCosts = field(default_factory=LearnedCosts)
    """What is known of the model's requests."""
    costs: ServiceCosts | None = None
    """What the engine takes for a request; None where that is not known."""
    outcomes: Mapping[Objective, ObjectiveOutcome] = field(default_factory=dict)
    """What each objective would have made of recent traffic; empty where that is not known."""

    def rules(self, backlog_tokens: float = 0.0, *, objective: Objective | None = None) -> Rules:
        """The rules for now.

        Args:
            backlog_tokens: output tokens still to be made for what waits, as far as the caller knows.
            objective: what to order for in the place of what the daemon is set to, as ``RankRequest.objective`` says.
        """
        if self.adaptive_rules is None:
            prior = self.calibration.mean_expected if self.calibration is not None else None
            return Rules(self.policy, patience=self.patience, prior_expected=prior)
        rate = self.tokens_per_second
        drains = [s for s in (backlog_tokens / rate if rate else None, self.mean_wait) if s is not None]
        trust = 0.0 if self.policy is Policy.FCFS else self.trust
        adaptive, learned = self.adaptive_rules, self.learned
        if objective is not None:
            adaptive, learned = self._asked_for(objective, adaptive)
        return adaptive.at(trust, max(drains, default=0.0) or None, learned)

    def _asked_for(self, objective: Objective, adaptive: AdaptiveRules) -> tuple[AdaptiveRules, LearnedCosts]:
        """What the rules are made from where the caller names the objective: the daemon makes of it the same."""
        learned = self.learned
        if adaptive.rules.policy in PATIENT:
            # What was tuned is that policy's: patience has another meaning under each.
            if (outcome := self.outcomes.get(objective)) is not None:
                learned = replace(learned, patience={**learned.patience, objective: outcome.patience})
            return replace(adaptive, objective=objective), learned
        # Who asks for an objective means one, whatever is configured.
        return replace(adaptive, rules=replace(adaptive.rules, policy=Policy.BOOST), objective=objective), learned


def knots_of(messages: Iterable[quality_pb2.CalibrationKnot]) -> tuple[Knot, ...]:
    """A calibration's points."""
    return tuple(
        Knot(
            k.score,
            k.expected_token_count,
            k.p50_token_count if k.HasField("p50_token_count") else None,
            k.p90_token_count if k.HasField("p90_token_count") else None,
        )
        for k in messages
    )


def policy_in_force(policy: quality_pb2.PolicyInForce) -> PolicyInForce:
    """A daemon's message."""
    knots = knots_of(policy.calibration)
    return PolicyInForce(
        model=policy.model,
        ranker_version=policy.ranker_version,
        # A policy that this client does not know cannot be followed by it: arrival order.
        policy=FROM_PROTO.get(policy.policy, Policy.FCFS),
        reason=reason_name(policy.reason),
        patience=seconds_of(policy.patience_per_token),
        calibration=Calibration(knots, policy.mean_expected_token_count) if knots else None,
        trust=policy.dial.trust,
        adaptive_rules=_adaptive_rules(policy.dial) if policy.HasField("dial") else None,
        tokens_per_second=policy.dial.tokens_per_second if policy.dial.HasField("tokens_per_second") else None,
        mean_wait=_length(policy.dial, "mean_wait", None),
        tuned_patience=_length(policy.dial, "tuned_patience_per_token", None),
        objective=OBJECTIVE_FROM_PROTO.get(policy.objective),
        learned=_learned(policy),
        costs=_costs(policy.costs) if policy.HasField("costs") else None,
        outcomes={
            OBJECTIVE_FROM_PROTO[o.objective]: _outcome(o)
            for o in policy.outcomes
            if o.objective in OBJECTIVE_FROM_PROTO
        },
    )


def _learned(policy: quality_pb2.PolicyInForce) -> LearnedCosts:
    dial = policy.dial
    patience = {
        OBJECTIVE_FROM_PROTO[c.objective]: seconds_of(c.tuned_patience_per_token)
        for c in dial.class_objectives
        if c.objective in OBJECTIVE_FROM_PROTO and c.HasField("tuned_patience_per_token")
    }
    tuned = _length(dial, "tuned_patience_per_token", None)
    if tuned is not None:
        patience[OBJECTIVE_FROM_PROTO.get(dial.objective, Objective.BALANCED)] = tuned
    return LearnedCosts(
        mean_length=policy.mean_expected_token_count if policy.calibration else None,
        mean_work=dial.mean_work_token_count or None,
        prompt_cost=dial.prompt_token_cost,
        pace=_length(dial, "learned_pace_per_token", 0.0),
        prompt_pace=_length(dial, "pace_per_prompt_token", 0.0),
        patience=patience,
        backlog_share={
            OBJECTIVE_FROM_PROTO[o.objective]: o.backlog_share
            for o in policy.outcomes
            if o.objective in OBJECTIVE_FROM_PROTO
        },
        ignore_lengths=dial.ignores_lengths,
    )


def _costs(costs: quality_pb2.ServiceCosts) -> ServiceCosts:
    def estimate(found: quality_pb2.Estimate) -> CostEstimate:
        return CostEstimate(found.value, found.low, found.high)

    return ServiceCosts(
        per_prompt_token=estimate(costs.seconds_per_prompt_token),
        per_output_token=estimate(costs.seconds_per_output_token),
        per_request=estimate(costs.seconds_per_request),
        running=costs.running_request_count,
        completions=costs.completion_count,
    )


def _outcome(outcome: quality_pb2.ObjectiveOutcome) -> ObjectiveOutcome:
    return ObjectiveOutcome(
        patience=seconds_of(outcome.patience_per_token),
        mean_ratio=outcome.mean_ratio,
        p99_ratio=outcome.p99_ratio,
        first_token_ratio=outcome.first_token_ratio,
        slo_share=outcome.slo_share if outcome.HasField("slo_share") else None,
        arrival_slo_share=outcome.arrival_slo_share if outcome.HasField("arrival_slo_share") else None,
        backlog_share=outcome.backlog_share,
    )


def _adaptive_rules(dial: quality_pb2.Dial) -> AdaptiveRules:
    return AdaptiveRules(
        Rules(
            policy=FROM_PROTO.get(dial.policy, Policy.FCFS),
            patience=_length(dial, "patience_per_token", 0.0),
            age_exponent=dial.age_exponent,
            risk=dial.risk,
            wait_cap=_length(dial, "wait_cap", math.inf),
            overtake_cap=dial.overtake_cap,
            class_step=_length(dial, "class_step", None),
            pace=_length(dial, "pace_per_token", 0.0),
            fair_tenants=dial.fair_tenants,
            prompt_weight=dial.prompt_weight,
            running_first=dial.running_first,
            prompt_cost=dial.prompt_token_cost,
        ),
        objective=OBJECTIVE_FROM_PROTO.get(dial.objective, Objective.BALANCED),
        class_objectives=tuple(
            (c.priority_class, OBJECTIVE_FROM_PROTO[c.objective])
            for c in dial.class_objectives
            if c.objective in OBJECTIVE_FROM_PROTO
        ),
        learn_prompt_cost=dial.prompt_token_cost_is_learned,
        backlog_share=dial.backlog_share,
        most_patience=_length(dial, "max_patience_per_token", math.inf),
        cap_share=dial.wait_cap_backlog_share,
    )


_Absent = TypeVar("_Absent", float, None)


def _length(message: Any, name: str, absent: _Absent) -> float | _Absent:
    """A duration in seconds."""
    return seconds_of(getattr(message, name)) if message.HasField(name) else absent
