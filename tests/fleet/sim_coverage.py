"""How often the fleet's intervals hold the truth: ``python tests/fleet/sim_coverage.py``; some minutes on one core.

Prints a row for each law of scores and lengths, as docs/fleet.md has them. The truth is that of a large sample.
"""

import itertools
import math
import sys

import numpy as np
from test_sums import Z, compared, drawn, truth

from rankd.quality.compare import Sums

REPLICAS, REPORTS, FLEETS = 5, 200, 400


def deviation(bounded):
    """The standard deviation behind an interval."""
    return (math.atanh(bounded.high) - math.atanh(bounded.low)) / 2 / Z * (1 - bounded.value**2)


def row(rho, ties, window):
    """Coverage of both intervals, and how the deviation told compares with the one there is."""
    rng, true = np.random.default_rng(1), truth(rho, ties)
    held, value, told = [], [], []
    for _ in range(FLEETS):
        sums = Sums(sum(compared(*drawn(rng, REPORTS, rho, ties), window) for _ in range(REPLICAS)))
        found = sums.tau(Z), sums.realised_gain(Z)
        held.append([f.low <= t <= f.high for f, t in zip(found, true, strict=True)])
        value.append([f.value for f in found])
        told.append([deviation(f) for f in found])
    share, ratio = np.mean(held, axis=0), np.mean(told, axis=0) / np.std(value, axis=0)
    return true[0], *share, *ratio


if __name__ == "__main__":
    for window, ties, rho in itertools.product((64, 256), (False, True), (0.0, 0.3, 0.6, 0.9)):
        tau, tau_held, gain_held, tau_ratio, gain_ratio = row(rho, ties, window)
        sys.stdout.write(
            f"| {window} | {'ties' if ties else 'none'} | {tau:.2f} | {tau_held:.1%} | {tau_ratio:.2f} "
            f"| {gain_held:.1%} | {gain_ratio:.2f} |\n"
        )
        sys.stdout.flush()
