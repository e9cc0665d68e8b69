"""The daemon's own clock, which nobody sets."""

from rankd.clock.steady import CLOCK, SteadyClock

__all__ = ["CLOCK", "SteadyClock"]
