"""Reports with a known law, and the sums that a daemon makes of them."""

import math

import numpy as np

from rankd.quality.statistics.pair_counters import Comparer

Z = 1.959964
"""The normal quantile of a 95 % interval."""


def compared(scores, tokens, window=256):
    """The totals after a stream of reports."""
    comparer = Comparer(window)
    for score, length in zip(scores, tokens, strict=True):
        comparer.add(float(score), int(length))
    return comparer.totals


def drawn(rng, size, rho, ties):
    """Scores and lengths of a Gaussian copula; with ties, scores of a few values and lengths in steps."""
    z, e = rng.normal(size=(2, size))
    tokens = np.exp(5 + 0.8 * (rho * z + math.sqrt(1 - rho * rho) * e)).astype(np.int64)
    return (np.round(1.5 * z), tokens // 60) if ties else (z, tokens)
