"""How often the fleet's intervals hold the truth: ``python tests/fleet/sim_coverage.py``; some minutes on one core.

Prints a row for each law of scores and lengths, as docs/measurements/2026-11-25-fleet.md has them.
The truth is that of a large sample.
"""

import itertools
import math
import sys

import numpy as np
from test_sums import Z, compared, drawn

from rankd.quality.statistics.pair_counters import CounterTotals
from rankd.quality.statistics.pair_sums import pair_sums

REPLICAS = 5
PLANS = ((64, 200, 400), (256, 200, 400), (256, 2000, 200))
"""Window, reports of each replica, fleets: 200 reports never fill a window of 256, 2,000 mostly run with a full one."""


def truth(rho, ties, samples=100, size=40_000):
    """Tau-b and realised gain of four million requests: of 200,000 they are off by half of a long row's deviation."""
    totals = np.zeros(5)
    for sample in range(samples):
        scores, tokens = drawn(np.random.default_rng([777, sample]), size, rho, ties)
        sums = pair_sums([scores], tokens, np.ones(size, bool), np.arange(size) // 4000)
        parts = sums.agree[0], sums.score_untied[0], sums.length_untied, sums.gain[0], sums.spread
        totals += [part.sum() for part in parts]
    agree, score, length, gain, spread = totals
    return agree / math.sqrt(score * length), gain / spread


def deviation(bounded):
    """The standard deviation behind an interval."""
    return (math.atanh(bounded.high) - math.atanh(bounded.low)) / 2 / Z * (1 - bounded.value**2)


def row(rho, ties, window, reports, fleets):
    """Coverage of both intervals, and how the deviation told compares with the one there is."""
    # A seed for each row: rows that share their draws share their chance error too.
    rng, true = np.random.default_rng([window, reports, round(10 * rho), ties]), truth(rho, ties)
    held, value, told = [], [], []
    for _ in range(fleets):
        sums = CounterTotals(sum(compared(*drawn(rng, reports, rho, ties), window) for _ in range(REPLICAS)))
        found = sums.tau(Z), sums.realised_gain(Z)
        held.append([f.low <= t <= f.high for f, t in zip(found, true, strict=True)])
        value.append([f.value for f in found])
        told.append([deviation(f) for f in found])
    share, ratio = np.mean(held, axis=0), np.mean(told, axis=0) / np.std(value, axis=0)
    return true[0], *share, *ratio


if __name__ == "__main__":
    for (window, reports, fleets), ties, rho in itertools.product(PLANS, (False, True), (0.0, 0.3, 0.6, 0.9)):
        tau, tau_held, gain_held, tau_ratio, gain_ratio = row(rho, ties, window, reports, fleets)
        sys.stdout.write(
            f"| {window} | {reports} | {'ties' if ties else 'none'} | {tau:.2f} | {tau_held:.1%} | {tau_ratio:.2f} "
            f"| {gain_held:.1%} | {gain_ratio:.2f} |\n"
        )
        sys.stdout.flush()
