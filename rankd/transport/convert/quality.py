"""From a window and a policy to their messages."""

from __future__ import annotations

import math

from rankd_client.ordering import (
    CostEstimate,
    LearnedCosts,
    Objective,
    ObjectiveOutcome,
    Policy,
    ServiceCosts,
    policy_for,
)
from rankd_client.v1 import quality_pb2

from rankd.clock import CLOCK
from rankd.monitor.trust import Trust
from rankd.monitor.window import Window
from rankd.ranking.policy import EffectivePolicy
from rankd.transport.convert.adaptation import adaptation_of, add_calibration, estimate_of
from rankd.transport.convert.request import OBJECTIVE_TO_PROTO, POLICY_TO_PROTO, REASON_TO_PROTO, timestamp, to_duration
from rankd.types import GuardMode

MODE_TO_PROTO = {
    GuardMode.WARMING_UP: quality_pb2.GUARD_MODE_WARMING_UP,
    GuardMode.RANKED: quality_pb2.GUARD_MODE_RANKED,
    GuardMode.FALLBACK: quality_pb2.GUARD_MODE_FALLBACK,
}


def quality_of(window: Window, enabled: bool) -> quality_pb2.Quality:
    """One window as proto."""
    out = quality_pb2.Quality(
        model=window.model,
        ranker_version=window.ranker_version,
        completion_count=window.tracker.completions,
        progress_report_count=window.tracker.progress_reports,
        guard=guard_of(window, enabled),
    )
    if (fleet := window.fleet) is not None:
        out.fleet.followed, out.fleet.leading = fleet.decides, fleet.leads
        out.fleet.peer_count, out.fleet.replica_count = fleet.peers, fleet.replicas
        if fleet.tau is not None:
            out.fleet.tau.CopyFrom(estimate_of(fleet.tau))
    if window.adaptation is not None:
        out.adaptation.CopyFrom(adaptation_of(window.adaptation.status))
        out.learned_in_use = window.learned_in_use
    estimate = window.estimate
    if estimate is None:
        return out
    for name, bounded in (
        ("tau", estimate.tau),
        ("work_tau", estimate.work_tau),
        ("prompt_work_tau", estimate.prompt_work_tau),
        ("realised_work_gain", estimate.realised_work_gain),
        ("finished_tau", estimate.tau_b),
        ("realised_gain", estimate.realised_gain),
    ):
        if bounded is not None:
            getattr(out, name).CopyFrom(estimate_of(bounded))
    if estimate.head_tau is not None:
        out.head_tau = estimate.head_tau
    if estimate.tail_tau is not None:
        out.tail_tau = estimate.tail_tau
    out.decided_pair_share = estimate.decided_pair_share or 0.0
    out.horizon_token_count = estimate.horizon_tokens or 0
    out.cohort_size = estimate.cohort_size
    out.window_size = estimate.window_size
    out.comparable_pair_count = estimate.comparable_pairs
    out.progress_seen = estimate.progress_seen
    out.open_count = estimate.open
    return out


def guard_of(window: Window, enabled: bool) -> quality_pb2.GuardStatus:
    """A window's guard as proto."""
    guard = window.guard
    out = quality_pb2.GuardStatus(
        mode=MODE_TO_PROTO[guard.mode],
        ranking=guard.ranks or guard.ignores_lengths or not enabled,
        reason=window.reason,
        transition_count=window.transitions,
    )
    if guard.since is not None:
        out.since.CopyFrom(timestamp(CLOCK.to_wall(guard.since)))
    if guard.pinned_until is not None:
        out.pinned_until.CopyFrom(timestamp(CLOCK.to_wall(guard.pinned_until)))
    return out


def policy_in_force_of(
    model: str, ranker_version: str, effective: EffectivePolicy, trust: Trust
) -> quality_pb2.PolicyInForce:
    """The policy in force as proto, complete enough to order without asking."""
    out = quality_pb2.PolicyInForce(
        model=model,
        ranker_version=ranker_version,
        policy=POLICY_TO_PROTO[effective.policy],
        reason=REASON_TO_PROTO[effective.reason],
        patience_per_token=to_duration(effective.rules.patience),
        dial=dial_of(effective, trust),
        objective=OBJECTIVE_TO_PROTO[effective.objective],
        outcomes=[outcome_of(objective, outcome) for objective, outcome in trust.load.outcomes.items()],
    )
    if (costs := trust.load.costs) is not None:
        out.costs.CopyFrom(costs_of(costs))
    if trust.calibration is not None:
        add_calibration(out, trust.calibration)
    return out


def dial_of(effective: EffectivePolicy, trust: Trust) -> quality_pb2.Dial:
    """The policy that is wanted and how it follows trust and backlog."""
    adaptive = effective.adaptive_rules
    rules, learned = adaptive.rules, effective.learned
    wait, tuned = trust.load.wait.mean, learned.patience.get(effective.objective)
    return quality_pb2.Dial(
        policy=POLICY_TO_PROTO[rules.policy],
        trust=trust.level,
        patience_per_token=to_duration(rules.patience),
        backlog_share=adaptive.backlog_share,
        max_patience_per_token=to_duration(adaptive.most_patience),
        age_exponent=rules.age_exponent,
        risk=rules.risk,
        wait_cap=to_duration(rules.wait_cap) if math.isfinite(rules.wait_cap) else None,
        wait_cap_backlog_share=adaptive.cap_share,
        overtake_cap=rules.overtake_cap,
        class_step=to_duration(rules.class_step) if rules.class_step is not None else None,
        pace_per_token=to_duration(rules.pace),
        fair_tenants=rules.fair_tenants,
        prompt_weight=rules.prompt_weight,
        running_first=rules.running_first,
        tokens_per_second=trust.load.rate.per_second,
        mean_wait=to_duration(wait) if wait is not None else None,
        tuned_patience_per_token=to_duration(tuned) if tuned is not None else None,
        prompt_token_cost=learned.prompt_cost if adaptive.learn_prompt_cost else rules.prompt_cost,
        prompt_token_cost_is_learned=adaptive.learn_prompt_cost,
        objective=OBJECTIVE_TO_PROTO[effective.objective],
        class_objectives=[
            class_objective_of(number, objective, rules.policy, learned)
            for number, objective in adaptive.class_objectives
        ],
        mean_work_token_count=learned.mean_work or 0.0,
        ignores_lengths=learned.ignore_lengths,
        pace_per_prompt_token=to_duration(learned.prompt_pace),
        learned_pace_per_token=to_duration(learned.pace),
    )


def class_objective_of(
    number: int, objective: Objective, policy: Policy, learned: LearnedCosts
) -> quality_pb2.ClassObjective:
    """What a class is ordered for as proto."""
    tuned = learned.patience.get(objective)
    return quality_pb2.ClassObjective(
        priority_class=number,
        objective=OBJECTIVE_TO_PROTO[objective],
        policy=POLICY_TO_PROTO[policy_for(objective, policy)],
        tuned_patience_per_token=to_duration(tuned) if tuned is not None else None,
    )


def outcome_of(objective: Objective, outcome: ObjectiveOutcome) -> quality_pb2.ObjectiveOutcome:
    """What an objective makes of recent traffic as proto."""
    return quality_pb2.ObjectiveOutcome(
        objective=OBJECTIVE_TO_PROTO[objective],
        patience_per_token=to_duration(outcome.patience),
        mean_ratio=outcome.mean_ratio,
        p99_ratio=outcome.p99_ratio,
        first_token_ratio=outcome.first_token_ratio,
        slo_share=outcome.slo_share,
        arrival_slo_share=outcome.arrival_slo_share,
        backlog_share=outcome.backlog_share,
    )


def costs_of(costs: ServiceCosts) -> quality_pb2.ServiceCosts:
    """What the engine takes for a request as proto."""
    return quality_pb2.ServiceCosts(
        seconds_per_prompt_token=_cost(costs.per_prompt_token),
        seconds_per_output_token=_cost(costs.per_output_token),
        seconds_per_request=_cost(costs.per_request),
        running_request_count=costs.running,
        prompt_token_cost=costs.prompt_cost,
        completion_count=costs.completions,
    )


def _cost(estimate: CostEstimate) -> quality_pb2.Estimate:
    return quality_pb2.Estimate(value=estimate.value, low=estimate.low, high=estimate.high)
