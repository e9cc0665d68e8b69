"""A completion as it is learned from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearnedCompletion:
    """A completion as it is learned from, here or from a peer. It names no request."""

    score: float
    """The ranker's own score."""
    features: bytes
    tokens: int
    """A lower bound unless ``complete``."""
    complete: bool
    source: int = 0
    """Keyed hash of the tenant that reported it; 0 for none."""
    at: float = 0.0
    """When it was reported, seconds by the daemon's clock."""
    learned: float = float("nan")
    """The learned score as it was before it was reported; NaN where there was none."""
    arrival: float = float("nan")
    """When the request arrived, by the same clock; NaN where that is not known."""
