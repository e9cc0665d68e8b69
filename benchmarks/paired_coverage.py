"""Coverage of the paired comparison: ``python -m benchmarks.paired_coverage [RUNS]`` (some minutes at 600).

Prints the table of docs/measurements/2026-11-25-paired-comparison.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.intervals import covers, defined
from rankd.quality.statistics import paired_comparison as paired
from rankd.quality.statistics.paired_comparison import PairedSample, compare

RANKERS = ((0.6, 0.5, 0.4), (0.5, 0.5, 0.8), (0.8, 0.3, 0.2))
"""Correlation with log length of candidate and incumbent, and between the two."""
SESSION = 20


Correlations = tuple[float, float, float]


def draw(rng: np.random.Generator, size: int, rankers: Correlations, shared: float) -> PairedSample:
    """Scores and lengths; ``shared`` is the part of the variance that the neighbours of a session have in common."""
    candidate, incumbent, between = rankers
    root = np.linalg.cholesky([[1, between, candidate], [between, 1, incumbent], [candidate, incumbent, 1]])
    common = np.repeat(rng.standard_normal((size // SESSION + 1, 3)), SESSION, axis=0)[:size]
    own = rng.standard_normal((size, 3))
    normal = (math.sqrt(shared) * common + math.sqrt(1 - shared) * own) @ root.T
    tokens = np.maximum(1, np.exp(5 + normal[:, 2])).astype(np.int64)
    return PairedSample(
        normal[:, 0], normal[:, 1], tokens, np.ones(size, bool), np.zeros(size, np.int64), np.arange(size)
    )


def coverage(size: int, rankers: Correlations, shared: float, runs: int) -> tuple[float, float]:
    """Shares of runs in which the interval covers the truth, and in which the candidate is found better."""
    rng = np.random.default_rng(1)
    truth = 2 / math.pi * (math.asin(rankers[0]) - math.asin(rankers[1]))
    differences = [defined(compare(draw(rng, size, rankers, shared)).tau_difference) for _ in range(runs)]
    return (
        float(np.mean([covers(d, truth) for d in differences])),
        float(np.mean([d.low > 0 for d in differences])),
    )


@contextmanager
def no_widening() -> Iterator[None]:
    """Let intervals take requests for independent, which those of a session are not."""
    widening = paired.dependence
    paired.dependence = lambda *_, **__: 1.0
    try:
        yield
    finally:
        paired.dependence = widening


def main() -> int:
    """Print the table, each cell with and without widening for dependence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired_coverage", description=__doc__.partition(":")[0])
    parser.add_argument("runs", nargs="?", type=int, default=600, help="of each cell; default: 600")
    runs = parser.parse_args().runs
    for shared in (0.0, 0.3):
        for size in (200, 500):
            for rankers in RANKERS:
                covered, better = coverage(size, rankers, shared, runs)
                with no_widening():
                    plain, _ = coverage(size, rankers, shared, runs)
                line = f"shared {shared} n {size} {rankers}: {covered:.3f} (without {plain:.3f}), better {better:.3f}"
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
