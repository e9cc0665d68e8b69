"""What the proxy counts, on its own /metrics page.

Labels are words of ours, and names of models that the engine served: no path, no text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from rankd_client.integration import CounterTally

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Of one proxy."""

    def __init__(self) -> None:
        """Declare them, in a registry of their own."""
        self.registry = registry = CollectorRegistry()
        self.requests = _tally(
            registry,
            "rankd_proxy_requests",
            "Requests to ranked endpoints by what their priority is: ranked, the client's own, or arrival order "
            "and why; direction_unknown and messages go without one, and encoded where the engine takes no header.",
            "outcome",
        )
        self.answers = _tally(
            registry,
            "rankd_proxy_answers",
            "All requests by what became of them: status class, cancelled by the client, upstream_unreachable, "
            "upstream_timeout, upstream_broken (the engine hung up, or spoke no HTTP), refused here, overloaded, "
            "internal.",
            "outcome",
        )
        self.reports = _tally(
            registry,
            "rankd_proxy_reports",
            "Completions by what became of their reports: accepted, duplicate, rejected, dropped_*, no_usage (the "
            "answer does not say its length), several (answers in one).",
            "outcome",
        )
        self.model_requests = Counter(
            "rankd_proxy_model_requests",
            "Ranked requests by served model, and by outcome as above; models are those that the engine served, at "
            "most RANKD_PROXY_MAX_MODELS of them, and other.",
            ["model", "outcome"],
            registry=registry,
        )
        self.of_model = cache(self.model_requests.labels)
        """The series of a model and an outcome."""
        self.no_usage, self.endings = _of_answers(registry)
        self.held_seconds = Histogram(
            "rankd_proxy_held_seconds",
            "From the end of a ranked request's body until it goes to the engine, asking included.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.late_scores = _late_scores(registry)
        self.first_byte_seconds = Histogram(
            "rankd_proxy_first_byte_seconds",
            "From a ranked request's arrival to the first byte of its answer's body.",
            buckets=_SECONDS,
            registry=registry,
        )

    def observe(self, in_flight: Callable[[], int], circuit_open: Callable[[], bool], known: Callable[[], str]) -> None:
        """Read these when metrics are collected."""
        for name, text, read in (
            ("rankd_proxy_in_flight", "Requests under way.", in_flight),
            ("rankd_proxy_circuit_open", "1 while the daemon is known not to answer, and is not asked.", circuit_open),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)
        gauge = Gauge(
            "rankd_proxy_direction", "1 for the order that the engine serves in.", ["direction"], registry=self.registry
        )
        for direction in ("unknown", "lower-first", "higher-first"):
            gauge.labels(direction).set_function(partial(_same, known, direction))

    def observe_hold_up(self, hold_up: Callable[[], float], waiting: Callable[[], int]) -> None:
        """Read these when metrics are collected."""
        for name, text, read in (
            ("rankd_proxy_hold_up_seconds", "That a request may be held up for its score, as things stand.", hold_up),
            ("rankd_proxy_waiting", "Requests that wait here for a place in the engine.", waiting),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)


def _tally(registry: CollectorRegistry, name: str, text: str, label: str) -> CounterTally:
    return CounterTally(Counter(name, text, [label], registry=registry))


def _late_scores(registry: CollectorRegistry) -> CounterTally:
    return _tally(
        registry,
        "rankd_proxy_late_scores",
        "Requests that went on without a score, by what became of asking on: scored, still_too_late, failed, "
        "not_asked (too many at a time).",
        "outcome",
    )


def _of_answers(registry: CollectorRegistry) -> tuple[CounterTally, CounterTally]:
    """Why answers do not say their lengths, and why those ended that do."""
    no_usage = _tally(
        registry,
        "rankd_proxy_no_usage",
        "Answers that do not say their length, by cause: not_asked, not_sent, ended_early, unfinished, error, "
        "too_large, no_memory, not_json, not_events, coding_unknown, coding_broken.",
        "cause",
    )
    endings = _tally(
        registry,
        "rankd_proxy_endings",
        "Answers that say their length, by why they ended: complete; limit, stopped, cancelled, failed, "
        "unfinished and unknown (a reason that rankd does not know) are lower bounds; not_given is complete "
        "below max_tokens.",
        "ending",
    )
    return no_usage, endings


def _same(known: Callable[[], str], direction: str) -> float:
    return float(known() == direction)
