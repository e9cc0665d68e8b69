"""proto ⇄ types for pilots: a plan in, how it stands out."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection

from rankd_client.ordering import Policy
from rankd_client.v1 import admin_pb2, prediction_pb2, quality_pb2

from rankd.pilot import MOST_BLOCKS, Effect, LatencyMetric, PilotState, Schedule, Switchback, SwitchbackPlan
from rankd.pilot.live import LivePilots
from rankd.transport.convert.request import (
    POLICY_TO_PROTO,
    Violations,
    duration_of,
    policy_of,
    seconds_of,
    timestamp,
    to_duration,
)

LEAST_BLOCKS = 6
_SHORTEST_SLOT, _LONGEST_SLOT = 0.1, 86400.0
_LATEST_START = 7 * 86400.0
_WASHOUT_SHARE = 0.2
_MOST_NAMED = 8
_METRIC_TO_PROTO = {
    LatencyMetric.MEAN: admin_pb2.PILOT_METRIC_MEAN,
    LatencyMetric.P50: admin_pb2.PILOT_METRIC_P50,
    LatencyMetric.P90: admin_pb2.PILOT_METRIC_P90,
    LatencyMetric.P99: admin_pb2.PILOT_METRIC_P99,
}
_METRICS: dict[int, LatencyMetric] = {
    admin_pb2.PILOT_METRIC_UNSPECIFIED: LatencyMetric.P99,
    **{number: metric for metric, number in _METRIC_TO_PROTO.items()},
}
_STATE_TO_PROTO = {
    PilotState.PLANNED: admin_pb2.PILOT_STATE_PLANNED,
    PilotState.RUNNING: admin_pb2.PILOT_STATE_RUNNING,
    PilotState.STOPPED: admin_pb2.PILOT_STATE_STOPPED,
    PilotState.FINISHED: admin_pb2.PILOT_STATE_FINISHED,
    PilotState.CANCELLED: admin_pb2.PILOT_STATE_CANCELLED,
    PilotState.NO_TRAFFIC: admin_pb2.PILOT_STATE_NO_TRAFFIC,
    PilotState.UNMEASURED: admin_pb2.PILOT_STATE_UNMEASURED,
}


def plan_of(
    message: admin_pb2.StartPilotRequest, default: Policy, idle_after: float, now: float, violations: Violations
) -> SwitchbackPlan:
    """What is to be compared.

    Raises:
        InvalidRequestError: naming every field at fault.
    """
    control = policy_of(message.control, "control", violations) or Policy.FCFS
    treatment = policy_of(message.treatment, "treatment", violations) or default
    if control is treatment and not message.shadow:
        violations.add("treatment", "is the control's policy: there is nothing to compare, but in the shadow")
    tolerance = message.harm_tolerance if message.HasField("harm_tolerance") else 0.1
    if not 0 <= tolerance < math.inf:
        violations.add("harm_tolerance", "must be at least 0 and finite")
    metric = _METRICS.get(message.metric)
    if metric is None:
        violations.add("metric", "must be MEAN (1), P50 (2), P90 (3) or P99 (4)")
    schedule = _schedule_of(message, now, violations)
    violations.check()
    assert metric is not None
    assert schedule is not None
    return SwitchbackPlan(schedule, control, treatment, metric, tolerance, message.shadow, idle_after=idle_after)


def only_name(model: str, there: Collection[str], what: str, violations: Violations) -> str:
    """The one model of those that are there; the unnamed one where there are none.

    Args:
        model: as the request names it, beside asking for the only one.
        there: models, repeated or not.
        what: what these do, for the error.
        violations: takes an error where there are several, with their names.
    """
    names = sorted(set(there))
    if model:
        violations.add("model", "must be empty where only_model is set")
    elif len(names) > 1:
        shown = ", ".join("the unnamed one ('')" if not name else repr(name) for name in names[:_MOST_NAMED])
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        violations.add("model", f"name one (--model): {len(names)} models {what}, {shown}{more}")
    return names[0] if len(names) == 1 else ""


def _schedule_of(message: admin_pb2.StartPilotRequest, now: float, violations: Violations) -> Schedule | None:
    slot = duration_of(message.slot, "slot", violations)
    if not _SHORTEST_SLOT <= slot <= _LONGEST_SLOT:
        violations.add("slot", "must be 100 ms to 1 day")
    washout = _WASHOUT_SHARE * slot
    if message.HasField("washout"):
        washout = duration_of(message.washout, "washout", violations)
        if not washout < slot:
            violations.add("washout", "must be shorter than the slot")
    if not LEAST_BLOCKS <= message.block_count <= MOST_BLOCKS:
        violations.add("block_count", f"must be {LEAST_BLOCKS} to {MOST_BLOCKS}")
    start = now
    if message.HasField("start_time"):
        start = seconds_of(message.start_time, "start_time", violations)
        if not now - slot <= start <= now + _LATEST_START:
            violations.add("start_time", "must be a slot's length ago at the earliest, in a week at the latest")
    if violations.found:
        return None
    return Schedule(message.seed or secrets.randbits(63) + 1, start, slot, washout, message.block_count)


def status_of(model: str, pilot: Switchback, now: float) -> admin_pb2.PilotStatus:
    """A pilot as it stands."""
    plan, report = pilot.plan, pilot.report(now)
    schedule, counts = plan.schedule, report.counts
    policy = prediction_pb2.POLICY_UNSPECIFIED if report.arm is None else POLICY_TO_PROTO[plan.policy(report.arm)]
    return admin_pb2.PilotStatus(
        model=model,
        control=POLICY_TO_PROTO[plan.control],
        treatment=POLICY_TO_PROTO[plan.treatment],
        slot=to_duration(schedule.slot),
        washout=to_duration(schedule.washout),
        block_count=schedule.blocks,
        shadow=plan.shadow,
        harm_tolerance=plan.harm_tolerance,
        metric=_METRIC_TO_PROTO[plan.metric],
        seed=schedule.seed,
        start_time=timestamp(schedule.start),
        state=_STATE_TO_PROTO[report.state],
        reason=report.reason,
        policy=policy,
        slot_count=counts.slots,
        measured_block_count=report.blocks,
        skipped_block_count=counts.skipped,
        request_count=counts.requests,
        unfinished_count=counts.unfinished,
        gave_up_count=counts.gave_up,
        crossed_count=counts.crossed,
        late_count=counts.late,
        unmeasured_count=counts.unknown,
        answer_count=counts.answers,
        overridden_count=counts.overridden,
        effects=[_effect(e) for e in report.effects],
    )


def pilot_in_force_of(model: str, pilot: Switchback, pilots: LivePilots) -> quality_pb2.PilotInForce:
    """What is said of a pilot beside a model's quality."""
    plan, report = pilot.plan, pilot.report(pilots.now(model))
    out = quality_pb2.PilotInForce(
        model=model,
        running=report.state is PilotState.RUNNING,
        control=POLICY_TO_PROTO[plan.control],
        treatment=POLICY_TO_PROTO[plan.treatment],
        shadow=plan.shadow,
        end_time=timestamp(pilots.ends_at(model, pilot)),
    )
    for effect in report.effects:
        low, high = effect.bounds(report.state)
        if math.isfinite(high):
            ratio = quality_pb2.Estimate(value=effect.ratio, low=low, high=high)
            out.ratios.add(statistic=f"LATENCY_STATISTIC_{effect.metric.name}", ratio=ratio)
    return out


def _effect(effect: Effect) -> admin_pb2.PilotEffect:
    return admin_pb2.PilotEffect(
        metric=_METRIC_TO_PROTO[effect.metric],
        control_seconds=effect.control,
        treatment_seconds=effect.treatment,
        ratio=effect.ratio,
        low=effect.low,
        high=effect.high,
        sequence_low=effect.sequence_low,
        sequence_high=effect.sequence_high,
        horizon_block_count=effect.at_horizon,
    )
