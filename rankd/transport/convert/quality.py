"""From a window to its message."""

from __future__ import annotations

import math

from rankd_client.ordering import Policy
from rankd_client.v1 import quality_pb2

from rankd.monitor.trust import Trust
from rankd.monitor.window import Window
from rankd.quality import Interval
from rankd.ranking.policy import dial_of, tuned_for
from rankd.settings import OrderSection
from rankd.transport.convert.request import MODE_TO_PROTO, POLICY_TO_PROTO, timestamp, to_duration


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
        out.since.CopyFrom(timestamp(guard.since))
    if guard.pinned_until is not None:
        out.pinned_until.CopyFrom(timestamp(guard.pinned_until))
    return out


def _estimate(bounded: Interval) -> quality_pb2.Estimate:
    return quality_pb2.Estimate(value=bounded.value, low=bounded.low, high=bounded.high)


def _dial(order: OrderSection, policy: Policy, trust: Trust) -> quality_pb2.Dial:
    """The policy that is wanted and how it follows trust and backlog."""
    dial = dial_of(order, policy)
    rules = dial.rules
    rate, wait = trust.load.rate.per_second, trust.load.wait.mean
    tuned = tuned_for(order, policy, trust)
    return quality_pb2.Dial(
        policy=POLICY_TO_PROTO[rules.policy],
        trust=trust.level,
        patience_per_token=to_duration(rules.patience),
        backlog_share=dial.backlog_share,
        max_patience_per_token=to_duration(dial.most_patience),
        age_exponent=rules.age_exponent,
        risk=rules.risk,
        wait_cap=to_duration(rules.wait_cap) if math.isfinite(rules.wait_cap) else None,
        wait_cap_backlog_share=dial.cap_share,
        overtake_cap=rules.overtake_cap,
        class_step=to_duration(rules.class_step) if rules.class_step is not None else None,
        pace_per_token=to_duration(rules.pace),
        fair_tenants=rules.fair_tenants,
        prompt_weight=rules.prompt_weight,
        running_first=rules.running_first,
        tokens_per_second=rate,
        mean_wait=to_duration(wait) if wait is not None else None,
        tuned_patience_per_token=to_duration(tuned) if tuned is not None else None,
    )
