"""Timing a call again and again for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from benchmarks.gpu.results import Row

_WARM_RUNS = 3


def repeat(call: Callable[[], object], prompts: int, seconds: float) -> Row:
    """Call for so long, at least three times, after warm-up runs.

    Args:
        call: what is measured; it returns when the work is done.
        prompts: that one call reads.
        seconds: how long to go on.
    """
    for _ in range(_WARM_RUNS):
        call()
    times: list[float] = []
    began = now = time.perf_counter()
    while now - began < seconds or len(times) < _WARM_RUNS:
        call()
        after = time.perf_counter()
        times.append(after - now)
        now = after
    return {"prompts_per_second": prompts * len(times) / (now - began), "runs": len(times), **milliseconds(times)}


def milliseconds(seconds: Sequence[float]) -> Row:
    """Median, 99th percentile and largest of times."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {
        "ms_p50": 1e3 * ordered[len(ordered) // 2],
        "ms_p99": 1e3 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "ms_max": 1e3 * ordered[-1],
    }
