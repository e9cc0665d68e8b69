"""What became of requests, on vLLM's own /metrics page."""

from __future__ import annotations

from prometheus_client import Counter
from rankd_client.integration import CounterTally

# No "vllm" in these names: vLLM unregisters whatever has it in its name when an engine starts.
REQUESTS = CounterTally(
    Counter(
        "rankd_engine_requests",
        "Requests by what their priority is: ranked, the client's own, or arrival order and why.",
        ["outcome"],
    )
)
REPORTS = CounterTally(
    Counter(
        "rankd_engine_reports",
        "Completions by what became of their reports: accepted, duplicate, rejected, or dropped and why.",
        ["outcome"],
    )
)
LATE_SCORES = CounterTally(
    Counter(
        "rankd_engine_late_scores",
        "Requests that went on without a score, by what became of asking on for their reports: scored, "
        "still_too_late, failed, not_asked (too many at a time).",
        ["outcome"],
    )
)
