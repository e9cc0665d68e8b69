"""What a daemon learned of its traffic, in plain values."""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client._policy import knots_of
from rankd_client._quality import LearnedQuality, learned_quality_of
from rankd_client.calibration import Calibration
from rankd_client.v1 import admin_pb2


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


def learned_of(message: admin_pb2.GetLearnedResponse) -> LearnedHead:
    """What was learned, as plain values."""
    knots = knots_of(message.calibration)
    calibration = Calibration(knots, message.mean_expected_token_count) if knots else None
    quality = learned_quality_of(message.adaptation)
    return LearnedHead(message.ranker_version, message.path, message.head, quality, calibration)
