"""A pilot, in plain values: a model's queue alternates between two policies by time slots, and their latencies compare.

Times in seconds; by the daemon's clock where since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from google.protobuf.duration_pb2 import Duration

from rankd_client._messages import FROM_PROTO, TO_PROTO, enum_name, seconds_of, set_time
from rankd_client.ordering import Policy
from rankd_client.v1 import admin_pb2

MetricName = Literal["mean", "p50", "p90", "p99"]


@dataclass(frozen=True, slots=True)
class PilotPlan:
    """What to compare; None leaves it to the daemon: FCFS against its own policy, a washout of a fifth of a slot."""

    slot: float
    """Length of a slot, .1 to 86,400."""
    blocks: int
    """Pairs of slots, 6 to 1,000."""
    model: str | None = ""
    """None: the only one that reports completions; refused, with their names, where several do."""
    control: Policy | None = None
    treatment: Policy | None = None
    washout: float | None = None
    """At the start of each slot: who arrives in it is not counted."""
    shadow: bool = False
    """Order nothing."""
    harm_tolerance: float | None = None
    """Stop once the ratio is shown to be above 1 + this."""
    metric: MetricName = "p99"
    """What harm is judged by."""
    seed: int = 0
    """0: drawn by the daemon. Replicas with the same seed, start, slot and blocks are in the same slot."""
    start: float | None = None
    """None: now."""


@dataclass(frozen=True, slots=True)
class PilotEffect:
    """Treatment against control: ``control`` and ``treatment`` in seconds, the rest as ratios.

    ``low`` and ``high`` are for a pilot that ran as planned (None: too few blocks); ``sequence_low`` and
    ``sequence_high`` may be read, and stopped on, at any time.
    """

    metric: str
    control: float
    treatment: float
    ratio: float
    low: float | None
    high: float | None
    sequence_low: float
    sequence_high: float
    horizon_blocks: int
    """Blocks in which a figure is only known to be at least a slot's length."""


@dataclass(frozen=True, slots=True)
class PilotStatus:
    """A pilot at one moment.

    ``state``: planned, running, stopped (by harm), finished, cancelled, no_traffic, unmeasured.
    """

    model: str
    control: Policy | None
    treatment: Policy | None
    slot: float
    washout: float
    blocks: int
    shadow: bool
    harm_tolerance: float
    metric: str
    seed: int
    start: float
    state: str
    reason: str
    policy: Policy | None
    """Of the present slot."""
    slots_done: int
    """Slots whose requests are all known."""
    blocks_measured: int
    """That the effects rest on."""
    blocks_skipped: int
    """Left out because a slot of theirs had too few requests."""
    requests: int
    """Of those slots."""
    unfinished: int
    """Of these, not ended a slot's length after their slot, or lost reports."""
    gave_up: int
    """Of these, cancelled or aborted: their latency is a lower bound."""
    crossed: int
    """Of these, still there when their slot ended: they met the next policy too."""
    late: int
    """Reports that came too late to count."""
    unmeasured: int
    """Reports without a total time, which cannot count."""
    answers: int
    """Given in the pilot's slots."""
    overridden: int
    """Of these, not by the slot's policy: the guard fell back, nothing was scored, or the call asked for another."""
    effects: tuple[PilotEffect, ...]
    """One per metric; empty before the first block is known."""

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self.state in {"planned", "running"}


def request_of(plan: PilotPlan) -> admin_pb2.StartPilotRequest:
    """A plan as proto."""
    request = admin_pb2.StartPilotRequest(
        model=plan.model or "",
        only_model=plan.model is None,
        slot=_duration(plan.slot),
        block_count=plan.blocks,
        shadow=plan.shadow,
        metric=f"PILOT_METRIC_{plan.metric.upper()}",
        seed=plan.seed,
        harm_tolerance=plan.harm_tolerance,
    )
    if plan.control is not None:
        request.control = TO_PROTO[plan.control]
    if plan.treatment is not None:
        request.treatment = TO_PROTO[plan.treatment]
    if plan.washout is not None:
        request.washout.CopyFrom(_duration(plan.washout))
    if plan.start is not None:
        set_time(request.start_time, plan.start)
    return request


def status_of(message: admin_pb2.PilotStatus) -> PilotStatus:
    """A pilot as plain values."""
    return PilotStatus(
        model=message.model,
        control=FROM_PROTO.get(message.control),
        treatment=FROM_PROTO.get(message.treatment),
        slot=seconds_of(message.slot),
        washout=seconds_of(message.washout),
        blocks=message.block_count,
        shadow=message.shadow,
        harm_tolerance=message.harm_tolerance,
        metric=enum_name(admin_pb2.PilotMetric, message.metric, "PILOT_METRIC_"),
        seed=message.seed,
        start=seconds_of(message.start_time),
        state=enum_name(admin_pb2.PilotState, message.state, "PILOT_STATE_"),
        reason=message.reason,
        policy=FROM_PROTO.get(message.policy),
        slots_done=message.slot_count,
        blocks_measured=message.measured_block_count,
        blocks_skipped=message.skipped_block_count,
        requests=message.request_count,
        unfinished=message.unfinished_count,
        gave_up=message.gave_up_count,
        crossed=message.crossed_count,
        late=message.late_count,
        unmeasured=message.unmeasured_count,
        answers=message.answer_count,
        overridden=message.overridden_count,
        effects=tuple(_effect(e) for e in message.effects),
    )


def _effect(message: admin_pb2.PilotEffect) -> PilotEffect:
    return PilotEffect(
        metric=enum_name(admin_pb2.PilotMetric, message.metric, "PILOT_METRIC_"),
        control=message.control_seconds,
        treatment=message.treatment_seconds,
        ratio=message.ratio,
        low=message.low if message.HasField("low") else None,
        high=message.high if message.HasField("high") else None,
        sequence_low=message.sequence_low,
        sequence_high=message.sequence_high,
        horizon_blocks=message.horizon_block_count,
    )


def _duration(seconds: float) -> Duration:
    out = Duration()
    out.FromNanoseconds(round(seconds * 1e9))
    return out
