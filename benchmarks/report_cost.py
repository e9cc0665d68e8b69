"""What one report costs where it is counted: ``python -m benchmarks.report_cost``. Medians; no daemon, half a minute.

In the daemon: a completion added to a full window and to a full tracker, an estimate of the guard's cohort and of the
report's, names of tenants counted. In the engine's process: a finished request handed to the reporter.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rankd_client import Completed, Placed, ReportResult
from rankd_client.integration.prediction_store import PredictionStore
from rankd_client.integration.reporter import FinishedRequest, Reporter

from benchmarks import queue_simulation as queue
from rankd.quality import Cohort, OutcomeReport, QualityTracker
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.statistics.rolling_pairs import PairWindow
from rankd.ranking.tenant_counts import TenantCounts

_FAR = 16384


def median(work: Callable[[int], object], runs: Iterable[int]) -> float:
    """Seconds of the median run."""
    taken = []
    for run in runs:
        began = time.perf_counter()
        work(run)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def window() -> float:
    """A completion into a window of 4,096 pairs that is full."""
    pairs, (score, tokens) = PairWindow(4096), queue.draw("gauss", 5200, np.random.default_rng(6))
    rows = list(zip(score.tolist(), tokens.tolist(), strict=True))
    for row in rows[:4200]:
        pairs.add(*row)
    return median(lambda i: pairs.add(*rows[i]), range(4200, 5200))


def tracker() -> float:
    """A completion into a full tracker, dedupe and arrivals included."""
    full, rng = QualityTracker(), np.random.default_rng(1)
    reports = [
        OutcomeReport(key, score, tokens, final=True, complete=True, arrival=1.0 + key)
        for key, (score, tokens) in enumerate(
            zip(rng.random(9500).tolist(), rng.integers(1, 2000, 9500).tolist(), strict=True)
        )
    ]
    for key, report in enumerate(reports[:8500]):
        full.add(report, 2.0 + key)
    return median(lambda i: full.add(reports[i], 2.0 + i), range(8500, 9500))


def estimate(size: int) -> float:
    """The censoring-aware tau of so many arrivals, of which a quarter still waits."""
    score, length = queue.draw("gauss", size, np.random.default_rng(15))
    waiting = score > np.quantile(score, 0.75)
    cohort = Cohort(score, np.where(waiting, 0, length), ~waiting)
    return median(lambda _: cohort_tau(cohort, _FAR, 1.96, 50), range(9))


def tenants() -> float:
    """A queue whose 16,384 items are of as many tenants, new each time, where a thousand are named."""
    counts, fresh = TenantCounts(1000), np.ones(16384, dtype=np.bool_)
    names = [[f"{i}-{k}" for k in range(16384)] for i in range(5)]
    return median(lambda i: counts.count(names[i], 16384, fresh, ()), range(5))


class _SlowSender:
    """A client that hangs."""

    def report(
        self,
        completions: Sequence[Completed],  # noqa: ARG002
        *,
        timeout: float,  # noqa: ARG002
        placed: Placed | None = None,  # noqa: ARG002
    ) -> ReportResult:
        time.sleep(0.5)
        raise RuntimeError


def handed_over() -> float:
    """A finished request given to the reporter while its client hangs."""
    reporter, finished = (
        Reporter(PredictionStore(), _SlowSender, capacity=1000),
        FinishedRequest("x", 10, "stop", 10, 0.5, 2.0),
    )
    seconds = median(lambda _: reporter.put(finished), range(20_000))
    reporter.close()
    return seconds


def main() -> int:
    """Print a table."""
    argparse.ArgumentParser(prog="python -m benchmarks.report_cost", description=__doc__.partition(":")[0]).parse_args()
    print("| what | median |")
    print("|---|---|")
    for what, seconds in (
        ("completion into a full window of 4,096", window()),
        ("completion into a full tracker", tracker()),
        ("estimate of the guard's cohort, 384", estimate(384)),
        ("estimate of a report's cohort, 2,048", estimate(2048)),
        ("16,384 tenants of a queue", tenants()),
        ("finished request handed to the reporter, client hangs", handed_over()),
    ):
        shown = f"{1e6 * seconds:.1f} us" if seconds < 1e-3 else f"{1e3 * seconds:.1f} ms"
        print(f"| {what} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
