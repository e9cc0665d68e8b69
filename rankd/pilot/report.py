"""What a pilot says of itself."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.pilot.interval import typical_interval
from rankd.pilot.latency import METRICS, LatencyMetric
from rankd.pilot.schedule import Arm
from rankd.pilot.sequence import sequence_interval

Floats = NDArray[np.float64]


class PilotState(enum.Enum):
    """How far a pilot has come."""

    PLANNED = "planned"
    RUNNING = "running"
    """The last slots' requests are waited for under this name too."""
    STOPPED = "stopped"
    """By itself, because of harm."""
    FINISHED = "finished"
    CANCELLED = "cancelled"
    NO_TRAFFIC = "no_traffic"
    """By itself: no request came."""
    UNMEASURED = "unmeasured"
    """By itself: requests came, and nothing could be learned of how long they took."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Treatment against control in one metric; ratios, below 1 where the treatment is faster."""

    metric: LatencyMetric
    control: float
    """Geometric mean of the control slots' figures, seconds."""
    treatment: float
    ratio: float
    """Geometric mean over blocks."""
    low: float | None
    """95 % interval of a pilot that ran as planned; means nothing if it was stopped for what it showed."""
    high: float | None
    sequence_low: float
    """95 % interval that is valid after every block, and may stop the pilot; 0 and infinity while nothing is known."""
    sequence_high: float
    at_horizon: int
    """Blocks in which the figure of an arm reached the horizon: it is at least that, and the ratio is drawn to 1."""

    def bounds(self, state: PilotState) -> tuple[float, float]:
        """The 95 % interval of the ratio that is valid in a pilot's state."""
        if state is PilotState.FINISHED and self.low is not None and self.high is not None:
            return self.low, self.high
        return self.sequence_low, self.sequence_high


@dataclass(slots=True)
class PilotCounts:
    """Requests and slots so far."""

    requests: int = 0
    """Requests of slots that were measured, as far as they were kept."""
    unfinished: int = 0
    """Of these, not ended by the horizon: lost reports look like this too."""
    gave_up: int = 0
    """Of these, cancelled or aborted."""
    crossed: int = 0
    """Of these, still there when their slot ended: they met the next policy too, which draws the ratio to 1."""
    late: int = 0
    """Ends reported after their slot was measured, or of another pilot."""
    unknown: int = 0
    """Ends reported without a latency."""
    slots: int = 0
    """Slots measured."""
    answers: int = 0
    """Orders of queues given in the pilot's slots."""
    overridden: int = 0
    """Of these, not by the slot's policy: the guard fell back, nothing was scored, or the call asked for another."""
    skipped: int = 0
    """Blocks that are left out: a slot of theirs had too few requests."""


@dataclass(frozen=True, slots=True)
class PilotReport:
    """The state at one moment."""

    state: PilotState
    reason: str
    """Why it stopped, one line; empty while it runs."""
    arm: Arm | None
    """What orders the queue now; None for whatever the daemon is set to."""
    blocks: int
    """Blocks that the effects rest on."""
    counts: PilotCounts
    effects: tuple[Effect, ...]
    """One per metric; empty before the first block."""


def effects_of(control: Sequence[Floats], treatment: Sequence[Floats], horizon: float) -> tuple[Effect, ...]:
    """The effects, from each block's figures of both arms in seconds, [4] each and in the order of time."""
    if not control:
        return ()
    ours, theirs = np.log(np.array(treatment)), np.log(np.array(control))
    differences = ours - theirs
    fixed = typical_interval(differences)
    reached = (np.array(treatment) >= horizon) | (np.array(control) >= horizon)
    out = []
    for i, metric in enumerate(METRICS):
        low, high = sequence_interval(differences[:, i])
        out.append(
            Effect(
                metric=metric,
                control=math.exp(theirs[:, i].mean()),
                treatment=math.exp(ours[:, i].mean()),
                ratio=math.exp(differences[:, i].mean()),
                low=None if fixed is None else math.exp(fixed[0][i]),
                high=None if fixed is None else math.exp(fixed[1][i]),
                sequence_low=math.exp(low),
                sequence_high=math.exp(high),
                at_horizon=int(reached[:, i].sum()),
            )
        )
    return tuple(out)
