"""What is said of saved seconds, as plain values."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rankd.quality.statistics.interval import Interval


class SavingsState(enum.Enum):
    """What ranking did to a served model's traffic lately."""

    LEARNING = "learning"
    """Too few completions with their times to say."""
    IDLE = "idle"
    """No completion lately: the figures are of before."""
    NO_QUEUE = "no_queue"
    """Hardly anything waited: no order can gain, or lose."""
    FALLS_BACK = "falls_back"
    """Arrival order is in force."""
    GAINS = "gains"
    """Requests surely end sooner on average."""
    NO_GAIN = "no_gain"
    """There is a queue, and the interval of the mean holds 0."""
    LOSES = "loses"
    """Requests surely end later on average."""


class LatencyMeasure(enum.Enum):
    """What of a request is measured."""

    END_TO_END = "end_to_end"
    FIRST_TOKEN = "first_token"  # noqa: S105
    """From arrival until the prompt was read."""
    PER_TOKEN = "per_token"  # noqa: S105
    """End to end over output tokens."""


class LatencyStatistic(enum.Enum):
    """Which figure of a measure."""

    MEAN = "mean"
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"


QUARTERS = ("shortest quarter", "second quarter", "third quarter", "longest quarter")
"""Of requests, by their work."""


@dataclass(frozen=True, slots=True)
class LatencyFigure:
    """One figure as it was, and as it would have been in arrival order, seconds."""

    measure: LatencyMeasure
    statistic: LatencyStatistic
    observed: float
    arrival_order: float
    saved: Interval
    """The second less the first."""


@dataclass(frozen=True, slots=True)
class PayerFigure:
    """What a part of the requests was saved on average, end to end, seconds; below 0 they paid."""

    label: str
    completions: int
    saved: Interval


@dataclass(frozen=True, slots=True)
class SavedTotal:
    """All that was saved over disjoint stretches of time, end to end, seconds."""

    since: float
    """Arrival of the first request."""
    until: float
    """Arrival of the last one."""
    seconds: Interval
    completions: int

    def and_then(self, later: SavedTotal) -> SavedTotal:
        """Both together. The error of a replay is the engine's, and may be of one sign at all times: ends add up."""
        one, other = self.seconds, later.seconds
        both = Interval(one.value + other.value, one.low + other.low, one.high + other.high)
        return SavedTotal(self.since, later.until, both, self.completions + later.completions)


@dataclass(frozen=True, slots=True)
class SavingsEstimate:
    """What ranking saved a window of completions. Times in seconds by the clock of the completions."""

    since: float
    """Arrival of the first."""
    until: float
    """End of the last."""
    completions: int
    queued: bool
    """Whether there was a queue to speak of: an order can gain, or lose."""
    queued_share: float
    """Of those that waited."""
    latencies: tuple[LatencyFigure, ...]
    payers: tuple[PayerFigure, ...]
    slower_share: float
    slower_by: float
    """Mean delay of those that were slower, seconds."""
    newest: SavedTotal | None
    """What those were saved that are in no running total yet."""

    @property
    def mean(self) -> Interval:
        """What is saved end to end on average."""
        wanted = (LatencyMeasure.END_TO_END, LatencyStatistic.MEAN)
        return next(one.saved for one in self.latencies if (one.measure, one.statistic) == wanted)


@dataclass(frozen=True, slots=True)
class SavingsReport:
    """What is said of one served model."""

    model: str
    state: SavingsState
    completions: int
    """Behind the figures; those known so far where there are none."""
    figures: SavingsEstimate | None = None
    total: SavedTotal | None = None
    last_completion_at: float | None = None
    """End of the last one with its times; None: there was none."""
