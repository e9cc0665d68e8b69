"""A switchback on live traffic, as pure statistics: when which policy orders, and what that did to latency."""

from rankd.pilot.latency import METRICS, Metric
from rankd.pilot.pilot import Pilot, Plan
from rankd.pilot.report import Counts, Effect, PilotReport, State
from rankd.pilot.schedule import MOST_BLOCKS, Arm, Schedule

__all__ = [
    "METRICS",
    "MOST_BLOCKS",
    "Arm",
    "Counts",
    "Effect",
    "Metric",
    "Pilot",
    "PilotReport",
    "Plan",
    "Schedule",
    "State",
]
