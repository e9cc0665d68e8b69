"""How often the fleet's intervals hold the truth: ``python -m benchmarks.fleet_coverage``; 12 minutes.

Prints a row for each law of scores and lengths, as docs/measurements/2026-11-25-fleet.md has them.
The truth is that of a large sample.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import covers, defined
from rankd.quality import Interval
from rankd.quality.statistics.pair_counters import Comparer, CounterTotals
from rankd.quality.statistics.pair_sums import pair_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z = 1.959964
"""The normal quantile of a 95 % interval."""
REPLICAS = 5
PLANS = ((64, 200, 400), (256, 200, 400), (256, 2000, 200))
"""Window, reports of each replica, fleets: 200 reports never fill a window of 256, 2,000 mostly run with a full one."""


def compared(scores: Iterable[float], tokens: Iterable[float], window: int = 256) -> Floats:
    """The totals after a stream of reports."""
    comparer = Comparer(window)
    for score, length in zip(scores, tokens, strict=True):
        comparer.add(float(score), int(length))
    return comparer.totals


def drawn(rng: np.random.Generator, size: int, rho: float, ties: bool) -> tuple[Floats, Ints]:
    """Scores and lengths of a Gaussian copula; with ties, scores of a few values and lengths in steps."""
    z, e = rng.normal(size=(2, size))
    tokens = np.exp(5 + 0.8 * (rho * z + math.sqrt(1 - rho * rho) * e)).astype(np.int64)
    return (np.round(1.5 * z), tokens // 60) if ties else (z, tokens)


def truth(rho: float, ties: bool, samples: int = 100, size: int = 40_000) -> tuple[float, float]:
    """Tau-b and realised gain of four million requests: of 200,000 they are off by half of a long row's deviation."""
    totals = np.zeros(5)
    for sample in range(samples):
        scores, tokens = drawn(np.random.default_rng([777, sample]), size, rho, ties)
        sums = pair_sums([scores], tokens, np.ones(size, bool), np.arange(size) // 4000)
        parts = sums.agree[0], sums.score_untied[0], sums.length_untied, sums.gain[0], sums.spread
        totals += [part.sum() for part in parts]
    agree, score, length, gain, spread = totals
    return agree / math.sqrt(score * length), gain / spread


def deviation(bounded: Interval) -> float:
    """The standard deviation behind an interval."""
    return (math.atanh(bounded.high) - math.atanh(bounded.low)) / 2 / Z * (1 - bounded.value**2)


def row(rho: float, ties: bool, window: int, reports: int, fleets: int) -> tuple[float, ...]:
    """tau-b, coverage of both intervals, and the deviations that they state over the ones there are."""
    # A seed for each row: rows that share their draws share their chance error too.
    rng, true = np.random.default_rng([window, reports, round(10 * rho), ties]), truth(rho, ties)
    covered, value, stated = [], [], []
    for _ in range(fleets):
        replicas = [compared(*drawn(rng, reports, rho, ties), window) for _ in range(REPLICAS)]
        sums = CounterTotals(np.sum(replicas, axis=0))
        found = defined(sums.tau(Z)), defined(sums.realised_gain(Z))
        covered.append([covers(f, t) for f, t in zip(found, true, strict=True)])
        value.append([f.value for f in found])
        stated.append([deviation(f) for f in found])
    share, ratio = np.mean(covered, axis=0), np.mean(stated, axis=0) / np.std(value, axis=0)
    return true[0], *share, *ratio


def main() -> int:
    """Print the table."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.fleet_coverage", description=__doc__.partition(":")[0]
    ).parse_args()
    for (window, reports, fleets), ties, rho in itertools.product(PLANS, (False, True), (0.0, 0.3, 0.6, 0.9)):
        tau, tau_covered, gain_covered, tau_ratio, gain_ratio = row(rho, ties, window, reports, fleets)
        print(
            f"| {window} | {reports} | {'ties' if ties else 'none'} | {tau:.2f} | {tau_covered:.1%} | {tau_ratio:.2f} "
            f"| {gain_covered:.1%} | {gain_ratio:.2f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
