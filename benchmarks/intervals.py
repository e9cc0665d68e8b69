"""Intervals of simulations, in which there is always evidence."""

from __future__ import annotations

from rankd.quality import Interval


def defined(found: Interval | None) -> Interval:
    """The interval, which a simulation of this size always has."""
    assert found is not None
    return found


def covers(found: Interval | None, truth: float) -> bool:
    """Whether the interval holds the truth."""
    known = defined(found)
    return bool(known.low <= truth <= known.high)
