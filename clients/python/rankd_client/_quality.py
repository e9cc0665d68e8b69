"""Quality answers as plain values."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from rankd_client._core import FROM_PROTO
from rankd_client._failures import reason_name
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import AdaptiveRules, Policy, Rules
from rankd_client.types import (
    Estimate,
    FleetState,
    GuardState,
    ModelQuality,
    PolicyInForce,
    QualityReport,
    ServiceStatus,
)
from rankd_client.v1 import quality_pb2


def report_of(answer: Any) -> QualityReport:
    """A GetQuality or WatchQuality answer."""
    service = answer.service
    return QualityReport(
        service=ServiceStatus(
            rankd_version=service.rankd_version,
            ranker_version=service.ranker_version,
            provider=service.provider,
            started_at=_seconds(service.started_at),
            rank_calls=service.rank_call_count,
            items=service.item_count,
            unscored_items=service.unscored_item_count,
            scored_prompts=service.scored_prompt_count,
            cached_prompts=service.cached_prompt_count,
            queued_prompts=service.queued_prompt_count,
            failed_batches=service.failed_batch_count,
            draining=service.draining,
        ),
        qualities=tuple(_quality(q) for q in answer.qualities),
        policies=tuple(_policy(p) for p in answer.policies),
    )


def _quality(q: quality_pb2.Quality) -> ModelQuality:
    return ModelQuality(
        model=q.model,
        ranker_version=q.ranker_version,
        tau=_estimate(q, "tau"),
        finished_tau=_estimate(q, "finished_tau"),
        realised_gain=_estimate(q, "realised_gain"),
        head_tau=q.head_tau if q.HasField("head_tau") else None,
        tail_tau=q.tail_tau if q.HasField("tail_tau") else None,
        decided_pair_share=q.decided_pair_share,
        horizon_tokens=q.horizon_token_count,
        cohort_size=q.cohort_size,
        window_size=q.window_size,
        progress_seen=q.progress_seen,
        completions=q.completion_count,
        open=q.open_count,
        guard=_guard(q.guard),
        fleet=_fleet(q.fleet) if q.HasField("fleet") else None,
    )


def _fleet(fleet: quality_pb2.FleetStatus) -> FleetState:
    return FleetState(fleet.followed, fleet.leading, fleet.peer_count, fleet.replica_count, _estimate(fleet, "tau"))


def _estimate(q: quality_pb2.Quality | quality_pb2.FleetStatus, name: str) -> Estimate | None:
    if not q.HasField(name):
        return None
    estimate = getattr(q, name)
    return Estimate(estimate.value, estimate.low, estimate.high)


def _guard(guard: quality_pb2.GuardStatus) -> GuardState:
    known = guard.mode in quality_pb2.GuardMode.values()
    name = quality_pb2.GuardMode.Name(guard.mode).removeprefix("GUARD_MODE_").lower() if known else f"mode_{guard.mode}"
    return GuardState(
        mode=name,
        ranking=guard.ranking,
        reason=guard.reason,
        since=_seconds(guard.since) if guard.HasField("since") else None,
        pinned_until=_seconds(guard.pinned_until) if guard.HasField("pinned_until") else None,
        transitions=guard.transition_count,
    )


def _policy(policy: quality_pb2.PolicyInForce) -> PolicyInForce:
    knots = tuple(
        Knot(
            k.score,
            k.expected_token_count,
            k.p50_token_count if k.HasField("p50_token_count") else None,
            k.p90_token_count if k.HasField("p90_token_count") else None,
        )
        for k in policy.calibration
    )
    return PolicyInForce(
        model=policy.model,
        ranker_version=policy.ranker_version,
        # A policy that this client does not know cannot be followed by it: arrival order.
        policy=FROM_PROTO.get(policy.policy, Policy.FCFS),
        reason=reason_name(policy.reason),
        patience=policy.patience_per_token.seconds + policy.patience_per_token.nanos * 1e-9,
        calibration=Calibration(knots, policy.mean_expected_token_count) if knots else None,
        trust=policy.dial.trust,
        adaptive_rules=_adaptive_rules(policy.dial) if policy.HasField("dial") else None,
        tokens_per_second=policy.dial.tokens_per_second if policy.dial.HasField("tokens_per_second") else None,
        mean_wait=_length(policy.dial, "mean_wait", None),
        tuned_patience=_length(policy.dial, "tuned_patience_per_token", None),
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
        ),
        backlog_share=dial.backlog_share,
        most_patience=_length(dial, "max_patience_per_token", math.inf),
        cap_share=dial.wait_cap_backlog_share,
    )


_Absent = TypeVar("_Absent", float, None)


def _length(message: Any, name: str, absent: _Absent) -> float | _Absent:
    """A duration in seconds."""
    return _seconds(getattr(message, name)) if message.HasField(name) else absent


def _seconds(stamp: Any) -> float:
    return float(stamp.seconds + stamp.nanos * 1e-9)
