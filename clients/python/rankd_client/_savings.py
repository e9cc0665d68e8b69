"""What ranking saved a served model's recent requests, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rankd_client._messages import enum_name, seconds_of
from rankd_client._values import Estimate, estimate_of
from rankd_client.v1 import quality_pb2


@dataclass(frozen=True, slots=True)
class SavedLatency:
    """One figure of latency as it was, and as it would have been in arrival order; seconds (per token of per_token)."""

    measure: str
    """end_to_end, first_token (arrival until the prompt was read) or per_token (end to end over output tokens)."""
    statistic: str
    """mean, p50, p90 or p99."""
    observed_seconds: float
    arrival_order_seconds: float
    saved_seconds: Estimate
    """The second less the first: above 0, requests were sooner."""


@dataclass(frozen=True, slots=True)
class Payer:
    """What a part of the requests gained or paid."""

    label: str
    """Which part, such as ``shortest quarter`` (of work)."""
    completions: int
    saved_seconds: Estimate
    """End to end, mean; below 0 they paid."""


@dataclass(frozen=True, slots=True)
class Savings:
    """What ranking saved a served model's recent requests, against arrival order. Times in seconds since the epoch."""

    model: str
    state: str
    """learning, idle, no_queue, falls_back, gains, no_gain or loses."""
    from_time: float | None
    """Arrival of the first completion behind the figures; None: there are no figures."""
    to_time: float | None
    """End of the last one."""
    completions: int
    """Behind the figures; while learning, those known so far."""
    queued_share: float
    """Of these, who waited, 0 to 1."""
    latencies: tuple[SavedLatency, ...] = ()
    """One per measure and statistic; empty where too little is known."""
    payers: tuple[Payer, ...] = ()
    """By quarter of work, the shortest first."""
    slower_share: float = 0.0
    """Of the requests, those that ended later than in arrival order, 0 to 1."""
    slower_by_seconds: float = 0.0
    """Their mean delay against arrival order."""
    total_saved_seconds: Estimate | None = None
    """End to end, summed over all requests since ``total_since``; None: nothing is known yet."""
    total_since: float | None = None
    total_completions: int = 0
    last_completion_at: float | None = None
    """None: none was reported with its times."""

    def latency(self, measure: str = "end_to_end", statistic: str = "mean") -> SavedLatency | None:
        """One figure; None where it is not known."""
        found = (one for one in self.latencies if (one.measure, one.statistic) == (measure, statistic))
        return next(found, None)


def savings_of(message: quality_pb2.Savings) -> Savings:
    """One model's, as plain values."""
    return Savings(
        model=message.model,
        state=enum_name(quality_pb2.SavingsState, message.state, "SAVINGS_STATE_"),
        from_time=_time(message, "from_time"),
        to_time=_time(message, "to_time"),
        completions=message.completion_count,
        queued_share=message.queued_share,
        latencies=tuple(
            SavedLatency(
                measure=enum_name(quality_pb2.LatencyMeasure, one.measure, "LATENCY_MEASURE_"),
                statistic=enum_name(quality_pb2.LatencyStatistic, one.statistic, "LATENCY_STATISTIC_"),
                observed_seconds=one.observed_seconds,
                arrival_order_seconds=one.arrival_order_seconds,
                saved_seconds=_estimate(one),
            )
            for one in message.latencies
        ),
        payers=tuple(Payer(one.label, one.completion_count, _estimate(one)) for one in message.payers),
        slower_share=message.slower_share,
        slower_by_seconds=message.slower_by_seconds,
        total_saved_seconds=estimate_of(message, "total_saved_seconds"),
        total_since=_time(message, "total_since"),
        total_completions=message.total_completion_count,
        last_completion_at=_time(message, "last_completion_time"),
    )


def _estimate(message: Any) -> Estimate:
    saved = message.saved_seconds
    return Estimate(saved.value, saved.low, saved.high)


def _time(message: Any, name: str) -> float | None:
    return seconds_of(getattr(message, name)) if message.HasField(name) else None
