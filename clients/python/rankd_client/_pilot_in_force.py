"""What a pilot under way, or the last one, says of a served model, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client._messages import FROM_PROTO, enum_name, seconds_of
from rankd_client._values import Estimate
from rankd_client.ordering import Policy
from rankd_client.v1 import quality_pb2


@dataclass(frozen=True, slots=True)
class PilotRatio:
    """End-to-end latency under the policy that a pilot tries, over that under the other one; below 1 is faster."""

    statistic: str
    """mean, p50, p90 or p99."""
    ratio: Estimate


@dataclass(frozen=True, slots=True)
class PilotInForce:
    """A served model's pilot; figures of the model's traffic are of both its policies while it runs."""

    model: str
    running: bool
    control: Policy
    treatment: Policy
    """What it tries."""
    ratios: tuple[PilotRatio, ...] = ()
    """With intervals that are valid in its state; empty while nothing is known."""
    shadow: bool = False
    """Nothing is treated."""
    ends_at: float = 0.0
    """When it ends as planned, or ended; seconds since the epoch."""


def pilot_in_force_of(message: quality_pb2.PilotInForce) -> PilotInForce:
    """One model's, as plain values."""
    return PilotInForce(
        model=message.model,
        running=message.running,
        control=FROM_PROTO.get(message.control, Policy.FCFS),
        treatment=FROM_PROTO.get(message.treatment, Policy.FCFS),
        ratios=tuple(
            PilotRatio(
                enum_name(quality_pb2.LatencyStatistic, one.statistic, "LATENCY_STATISTIC_"),
                Estimate(one.ratio.value, one.ratio.low, one.ratio.high),
            )
            for one in message.ratios
        ),
        shadow=message.shadow,
        ends_at=seconds_of(message.end_time),
    )
