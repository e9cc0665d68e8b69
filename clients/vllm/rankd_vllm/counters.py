"""What became of requests, on vLLM's own /metrics page."""

from __future__ import annotations

from prometheus_client import Counter


class _Counted:
    """A tally that is a counter of Prometheus'."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def inc(self, outcome: str, amount: int = 1) -> None:
        """Count an outcome."""
        self._counter.labels(outcome).inc(amount)


# No "vllm" in these names: vLLM unregisters whatever has it in its name when an engine starts.
REQUESTS = _Counted(
    Counter(
        "rankd_engine_requests",
        "Requests by what their priority is: ranked, the client's own, or arrival order and why.",
        ["outcome"],
    )
)
REPORTS = _Counted(
    Counter(
        "rankd_engine_reports",
        "Completions by what became of their reports: accepted, duplicate, rejected, or dropped and why.",
        ["outcome"],
    )
)
