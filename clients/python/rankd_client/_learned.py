"""What a daemon learned of its traffic, in plain values."""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client._messages import enum_name, seconds_of
from rankd_client._quality import Estimate, estimate_of
from rankd_client.calibration import Calibration, Knot
from rankd_client.v1 import admin_pb2, quality_pb2


@dataclass(frozen=True, slots=True)
class LearnedQuality:
    """Where what was learned of a model's traffic stands, and what it is worth; None where too few completions tell.

    ``state``: learning, not_better, in_use, stepped_back. ``since`` in seconds since the epoch; None: since the start.
    """

    state: str
    completions: int
    """Learned from, as far as they are not forgotten."""
    compared: int
    """Recent ones behind the figures; each was predicted before it was learned from."""
    base_tau: Estimate | None
    """Of the ranker's own scores."""
    learned_tau: Estimate | None
    difference: Estimate | None
    """The second less the first, paired."""
    since: float | None
    switches: int
    """How often it was taken into use or stepped back."""
    left_out: int
    """Completions that contradict those of other tenants."""


@dataclass(frozen=True, slots=True)
class LearnedHead:
    """What was learned, to be folded into a ranker of its own."""

    ranker_version: str
    """That it adds to, as ``name@version``."""
    path: str
    """That ranker's directory on the daemon's machine."""
    head: bytes
    """For ``rankd bake``."""
    quality: LearnedQuality
    calibration: Calibration | None
    """From its scores to lengths; None where that is not known."""


def learned_quality_of(message: quality_pb2.Adaptation) -> LearnedQuality:
    """Where it stands, as plain values."""
    return LearnedQuality(
        state=enum_name(quality_pb2.AdaptationState, message.state, "ADAPTATION_STATE_"),
        completions=message.completion_count,
        compared=message.compared_count,
        base_tau=estimate_of(message, "base_tau"),
        learned_tau=estimate_of(message, "learned_tau"),
        difference=estimate_of(message, "difference"),
        since=seconds_of(message.since) if message.HasField("since") else None,
        switches=message.switch_count,
        left_out=message.left_out_count,
    )


def learned_of(message: admin_pb2.GetLearnedResponse) -> LearnedHead:
    """What was learned, as plain values."""
    knots = tuple(
        Knot(
            k.score,
            k.expected_token_count,
            k.p50_token_count if k.HasField("p50_token_count") else None,
            k.p90_token_count if k.HasField("p90_token_count") else None,
        )
        for k in message.calibration
    )
    calibration = Calibration(knots, message.mean_expected_token_count) if knots else None
    quality = learned_quality_of(message.adaptation)
    return LearnedHead(message.ranker_version, message.path, message.head, quality, calibration)
