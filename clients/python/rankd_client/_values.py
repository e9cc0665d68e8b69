"""Figures with intervals, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def estimate_of(message: Any, name: str) -> Estimate | None:
    """An Estimate of a message; None where it has none."""
    if not message.HasField(name):
        return None
    estimate = getattr(message, name)
    return Estimate(estimate.value, estimate.low, estimate.high)
