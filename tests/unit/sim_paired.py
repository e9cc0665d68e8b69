"""Coverage of the paired comparison: ``python tests/unit/sim_paired.py [RUNS]`` (some minutes at 600).

Prints the table of docs/measurements/2026-11-25-paired-comparison.md.
"""

import math
import sys

import numpy as np

from rankd.quality.statistics import paired_comparison as paired
from rankd.quality.statistics.paired_comparison import PairedSample, compare

RANKERS = ((0.6, 0.5, 0.4), (0.5, 0.5, 0.8), (0.8, 0.3, 0.2))
"""Correlation with log length of candidate and incumbent, and between the two."""
SESSION = 20


def draw(rng, size, candidate, incumbent, between, shared):
    """Scores and lengths; ``shared`` is the part of the variance that the neighbours of a session have in common."""
    root = np.linalg.cholesky([[1, between, candidate], [between, 1, incumbent], [candidate, incumbent, 1]])
    common = np.repeat(rng.standard_normal((size // SESSION + 1, 3)), SESSION, axis=0)[:size]
    own = rng.standard_normal((size, 3))
    normal = (math.sqrt(shared) * common + math.sqrt(1 - shared) * own) @ root.T
    tokens = np.maximum(1, np.exp(5 + normal[:, 2])).astype(np.int64)
    return PairedSample(
        normal[:, 0], normal[:, 1], tokens, np.ones(size, bool), np.zeros(size, np.int64), np.arange(size)
    )


def coverage(size, rankers, shared, runs):
    """Shares of runs in which the interval covers the truth, and in which the candidate is found better."""
    rng = np.random.default_rng(1)
    truth = 2 / math.pi * (math.asin(rankers[0]) - math.asin(rankers[1]))
    differences = [compare(draw(rng, size, *rankers, shared)).tau_difference for _ in range(runs)]
    return (
        np.mean([d.low <= truth <= d.high for d in differences]),
        np.mean([d.low > 0 for d in differences]),
    )


def table(runs):
    """Print the table, each cell with and without widening for dependence."""
    widening = paired.dependence
    for shared in (0.0, 0.3):
        for size in (200, 500):
            for rankers in RANKERS:
                paired.dependence = widening
                covered, better = coverage(size, rankers, shared, runs)
                paired.dependence = lambda *_, **__: 1.0
                plain, _ = coverage(size, rankers, shared, runs)
                sys.stdout.write(
                    f"shared {shared} n {size} {rankers}: {covered:.3f} (without {plain:.3f}), better {better:.3f}\n"
                )


if __name__ == "__main__":
    table(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
