"""What each panel must show when five daemons serve, log, are judged and struggle: never silently nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """So many series at least for each query, in order; their values within bounds, and the largest above a value."""

    series: tuple[int, ...]
    low: float = 0.0
    high: float = float("inf")
    above: float = float("-inf")


def share(series=1, above=float("-inf")):
    return Need((series,), 0, 1, above)


def flow(*series):
    """Something flows."""
    return Need(series, above=0)


NEEDS = {
    # the mute one is told of nothing; three replicas tell of one model, the backwards one falls back
    "What ranking does to the traffic": Need((4,), 0, 6, 0.5),
    "E2E latency saved, mean": Need((1,), -60, 60),
    "E2E latency saved, p99": Need((1,), -60, 60),
    "TTFT saved, mean": Need((1,), -60, 60),
    "Time per output token saved, mean": Need((1,), -60, 60),
    "E2E latency, observed and in arrival order": Need((2, 2), 0, 60, 0),
    "TTFT, observed and in arrival order": Need((2, 2), 0, 60, 0),
    "Time per output token, observed and in arrival order": Need((2, 2), 0, 60, 0),
    "E2E latency saved, and its interval": Need((1, 1, 1), -60, 60),
    "Who gained, and who paid": Need((4,), -60, 60),
    "Requests later than in arrival order": share(),
    "Saved in all": Need((0,), -1e6, 1e6, float("-inf")),
    # nobody began one
    "Pilots: latency over the other policy's": Need((0, 0, 0)),
    # three models of (model, ranker): tiny and backwards report, so the fleet's figures have two; the mute one none
    "Tau now": Need((2,), -1, 1, 0.4),
    "Realised gain now": Need((2,), -1, 1, 0.4),
    "Answers in ranked order": share(above=0.3),
    "Guards in fallback": Need((1,), 1, 1),
    "Replicas": Need((1,), 5, 5),
    "Ranker in service": Need((3,), 1, 3),
    "Tau of the fleet, its interval, and the guard's thresholds": Need((2, 2, 2, 1, 1), -1, 1, 0.1),
    "Realised gain of the fleet, and its interval": Need((2, 2, 2), -1, 1, 0.4),
    "Completions that the fleet's figures rest on": Need((2,), above=100),
    "Tau by replica": Need((4,), -1, 1, 0.4),
    "Realised gain by replica": Need((4,), -1, 1, 0.4),
    "Pairs whose order is known": share(4, above=0.9),
    "Guard's mode": Need((5,), 0, 2, 1),
    "Changes of guards": flow(2),
    "Changes of what orders": Need((2,)),
    # the backwards one learns nothing, the mute one is told no lengths
    "Learned scores order": Need((3,), 0, 1),
    "Completions that are learned from": Need((3,), above=100),
    "Tau of what was learned, and of the ranker": Need((3, 3), -1, 1, 0.4),
    "What learning adds to tau, and its interval": Need((3, 3, 3), -2, 2),
    "Guards held by an operator": Need((5,), 0, 0),
    "Replicas in touch": Need((5,), 1, 1),
    "Trust": share(5, above=0.5),
    "Patience": flow(3),
    "Ordered for": Need((1,), 5, 5),
    "Mean latency by objective": Need((1,), 0, 5, 0),
    "p99 of latency by objective": Need((1,), 0, 50, 0),
    # nobody counts prompts here: nothing is known of what they cost
    "Tau of work, and of prompts alone": Need((4, 0), -1, 1, 0.4),
    "Prompts alone order": Need((5,), 0, 0),
    "What a prompt token counts for": Need((5,), 0, 1, 0.01),
    "What the engine takes": Need((0,), 0, above=float("nan")),
    "Answers by policy and reason": flow(3),
    "Share of answers in order of arrival, by reason": share(2, above=0.1),
    "Items by outcome": flow(6),
    "Completions by outcome": flow(2),
    "Engines' requests by how they were placed": Need((4,)),
    "Calls by method and status": flow(2),
    "Calls refused for their rate": Need((5,), 0, 0),
    "Refused for their credentials": flow(1),
    "Rank calls": flow(1, 1, 1),
    "All calls by method": flow(2, 2, 2),
    "Rank calls within 50 ms": share(above=0.2),
    "Stages, median": flow(5),
    "Stages, p99": flow(5),
    "Rankers in service": Need((5,), 1, 1),
    # on machines without a GPU
    "Time on the GPU": Need((0,), 0, 1),
    "Products without CUDA kernel": Need((0,), 0, 0),
    "Workers": Need((3,), low=1, high=16),
    "Batches": flow(1, 1),
    "Prompts read": flow(5),
    "Size of batches": Need((1, 1), above=1),
    "Padding": share(above=0),
    "Prompts that wait": Need((5,)),
    "Tokens that wait": Need((5,)),
    "Scores in the cache": flow(5),
    "Prompts read in the shadow": flow(1),
    "Candidates judged": Need((1,), 1, 1),
    "Completion log: alarm": Need((3,), 0, 1, 0.9),
    "Completion log: rows": flow(2),
    "Completion log: waiting": flow(3),
    "Completion log: bytes": flow(1),
    "Completion log: files": flow(1),
    "Processor": flow(5),
    "Memory": Need((5,), low=1e7),
    "Open files and connections": share(5, above=0),
    "Running for": Need((5,), low=1, high=600),
    "Certificate's time left": Need((1,), 86400, 2 * 86400),
    "Versions": Need((1,), 5, 5),
}
