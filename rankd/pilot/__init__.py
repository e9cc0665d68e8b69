"""A switchback on live traffic: when which policy orders, and what that did to latency.

Pure statistics, but for ``live.py``: it feeds them by the daemon's clock.
"""

from rankd.pilot.latency import METRICS, LatencyMetric
from rankd.pilot.pilot import Switchback, SwitchbackPlan
from rankd.pilot.report import Effect, PilotCounts, PilotReport, PilotState
from rankd.pilot.schedule import MOST_BLOCKS, Arm, Schedule

__all__ = [
    "METRICS",
    "MOST_BLOCKS",
    "Arm",
    "Effect",
    "LatencyMetric",
    "PilotCounts",
    "PilotReport",
    "PilotState",
    "Schedule",
    "Switchback",
    "SwitchbackPlan",
]
