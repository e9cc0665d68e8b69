"""From what is said of saved seconds to its message."""

from __future__ import annotations

from rankd_client.v1 import quality_pb2

from rankd.quality.savings.values import LatencyFigure, SavingsReport
from rankd.transport.convert.adaptation import estimate_of
from rankd.transport.convert.request import timestamp


def savings_message(report: SavingsReport) -> quality_pb2.Savings:
    """One served model's as proto."""
    out = quality_pb2.Savings(
        model=report.model,
        state=f"SAVINGS_STATE_{report.state.name}",
        completion_count=report.completions,
    )
    if (figures := report.figures) is not None:
        out.from_time.CopyFrom(timestamp(figures.since))
        out.to_time.CopyFrom(timestamp(figures.until))
        out.queued_share = figures.queued_share
        out.latencies.extend(map(_latency, figures.latencies))
        out.payers.extend(
            quality_pb2.Payer(label=one.label, completion_count=one.completions, saved_seconds=estimate_of(one.saved))
            for one in figures.payers
        )
        out.slower_share, out.slower_by_seconds = figures.slower_share, figures.slower_by
    if (total := report.total) is not None:
        out.total_saved_seconds.CopyFrom(estimate_of(total.seconds))
        out.total_since.CopyFrom(timestamp(total.since))
        out.total_completion_count = total.completions
    if report.last_completion_at is not None:
        out.last_completion_time.CopyFrom(timestamp(report.last_completion_at))
    return out


def _latency(one: LatencyFigure) -> quality_pb2.SavedLatency:
    return quality_pb2.SavedLatency(
        measure=f"LATENCY_MEASURE_{one.measure.name}",
        statistic=f"LATENCY_STATISTIC_{one.statistic.name}",
        observed_seconds=one.observed,
        arrival_order_seconds=one.arrival_order,
        saved_seconds=estimate_of(one.saved),
    )
