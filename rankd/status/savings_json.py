"""``savings[]`` of ``/status.json``: what ranking saved each served model's traffic lately."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rankd.quality.savings.values import SavingsReport


def savings_of(report: SavingsReport) -> dict[str, Any]:
    """One served model's as plain values; what is unknown is None."""
    figures, total = report.figures, report.total
    return {
        "model": report.model,
        "state": report.state.value,
        "from_time": None if figures is None else figures.since,
        "to_time": None if figures is None else figures.until,
        "completions": report.completions,
        "queued_share": None if figures is None else figures.queued_share,
        "latencies": [
            {
                "measure": one.measure.value,
                "statistic": one.statistic.value,
                "observed_seconds": one.observed,
                "arrival_order_seconds": one.arrival_order,
                "saved_seconds": asdict(one.saved),
            }
            for one in (figures.latencies if figures else ())
        ],
        "payers": [
            {"label": one.label, "completions": one.completions, "saved_seconds": asdict(one.saved)}
            for one in (figures.payers if figures else ())
        ],
        "slower_share": None if figures is None else figures.slower_share,
        "slower_by_seconds": None if figures is None else figures.slower_by,
        "total_saved_seconds": None if total is None else asdict(total.seconds),
        "total_since": None if total is None else total.since,
        "total_completions": 0 if total is None else total.completions,
        "last_completion_at": report.last_completion_at,
    }
