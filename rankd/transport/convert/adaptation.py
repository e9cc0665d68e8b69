"""From what was learned of traffic to its messages."""

from __future__ import annotations

from rankd_client.calibration import Calibration
from rankd_client.v1 import admin_pb2, quality_pb2

from rankd.adaptation import AdaptationState, AdaptationStatus
from rankd.clock import CLOCK
from rankd.quality import Interval
from rankd.transport.convert.request import timestamp

STATE_TO_PROTO = {
    AdaptationState.LEARNING: quality_pb2.ADAPTATION_STATE_LEARNING,
    AdaptationState.NOT_BETTER: quality_pb2.ADAPTATION_STATE_NOT_BETTER,
    AdaptationState.IN_USE: quality_pb2.ADAPTATION_STATE_IN_USE,
    AdaptationState.STEPPED_BACK: quality_pb2.ADAPTATION_STATE_STEPPED_BACK,
}


def adaptation_of(status: AdaptationStatus) -> quality_pb2.Adaptation:
    """Where it stands as proto."""
    out = quality_pb2.Adaptation(
        state=STATE_TO_PROTO[status.state],
        completion_count=status.completions,
        compared_count=status.compared,
        switch_count=status.switches,
        left_out_count=status.left_out,
    )
    for name, bounded in (
        ("base_tau", status.base_tau),
        ("learned_tau", status.learned_tau),
        ("difference", status.difference),
    ):
        if bounded is not None:
            getattr(out, name).CopyFrom(estimate_of(bounded))
    if status.since is not None:
        out.since.CopyFrom(timestamp(CLOCK.to_wall(status.since)))
    return out


def learned_of(
    ranker_version: str, path: str, head: bytes, status: AdaptationStatus, calibration: Calibration | None
) -> admin_pb2.GetLearnedResponse:
    """What was learned as proto, to be folded into a ranker."""
    out = admin_pb2.GetLearnedResponse(
        ranker_version=ranker_version, path=path, head=head, adaptation=adaptation_of(status)
    )
    if calibration is not None:
        add_calibration(out, calibration)
    return out


def add_calibration(out: admin_pb2.GetLearnedResponse | quality_pb2.PolicyInForce, calibration: Calibration) -> None:
    """Say in a message how scores become lengths."""
    out.mean_expected_token_count = calibration.mean_expected
    for knot in calibration.to_knots():
        added = out.calibration.add(score=knot.score, expected_token_count=knot.expected)
        if knot.p50 is not None:
            added.p50_token_count = knot.p50
        if knot.p90 is not None:
            added.p90_token_count = knot.p90


def estimate_of(bounded: Interval) -> quality_pb2.Estimate:
    """A figure with its interval as proto."""
    return quality_pb2.Estimate(value=bounded.value, low=bounded.low, high=bounded.high)
