"""From a window and a policy to their messages."""

from __future__ import annotations

import math

from rankd_client.v1 import quality_pb2

from rankd.clock import CLOCK
from rankd.monitor.trust import Trust
from rankd.monitor.window import Window
from rankd.quality import Interval
from rankd.ranking.policy import EffectivePolicy
from rankd.transport.convert.request import POLICY_TO_PROTO, REASON_TO_PROTO, timestamp, to_duration
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
        guard=guard_of(window, enabled),
    )
    if (fleet := window.fleet) is not None:
        out.fleet.followed, out.fleet.leading = fleet.decides, fleet.leads
        out.fleet.peer_count, out.fleet.replica_count = fleet.peers, fleet.replicas
        if fleet.tau is not None:
            out.fleet.tau.CopyFrom(_estimate(fleet.tau))
    estimate = window.estimate
    if estimate is None:
        return out
    for name, bounded in (
        ("tau", estimate.tau),
        ("finished_tau", estimate.tau_b),
        ("realised_gain", estimate.realised_gain),
    ):
        if bounded is not None:
            getattr(out, name).CopyFrom(_estimate(bounded))
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
        ranking=guard.ranks or not enabled,
        reason=window.reason,
        transition_count=window.transitions,
    )
    if guard.since is not None:
        out.since.CopyFrom(timestamp(CLOCK.to_wall(guard.since)))
    if guard.pinned_until is not None:
        out.pinned_until.CopyFrom(timestamp(CLOCK.to_wall(guard.pinned_until)))
    return out


def _estimate(bounded: Interval) -> quality_pb2.Estimate:
    return quality_pb2.Estimate(value=bounded.value, low=bounded.low, high=bounded.high)


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
    )
    if trust.calibration is None:
        return out
    out.mean_expected_token_count = trust.calibration.mean_expected
    for knot in trust.calibration.to_knots():
        added = out.calibration.add(score=knot.score, expected_token_count=knot.expected)
        if knot.p50 is not None:
            added.p50_token_count = knot.p50
        if knot.p90 is not None:
            added.p90_token_count = knot.p90
    return out


def dial_of(effective: EffectivePolicy, trust: Trust) -> quality_pb2.Dial:
    """The policy that is wanted and how it follows trust and backlog."""
    adaptive = effective.adaptive_rules
    rules = adaptive.rules
    wait, tuned = trust.load.wait.mean, effective.tuned_patience
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
    )
