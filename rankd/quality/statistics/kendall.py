"""Concordance counts of a sample in O(n log n), vectorised: Knight's idea, kept per item."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def smaller_before(ranks: Ints) -> Ints:
    """For every element of a permutation of 0..n-1, count the earlier elements that are smaller.

    Works down the bits of the ranks. Elements that agree in the higher bits form blocks of one
    size, so that each level is a handful of array operations and no Python loop over elements.
    """
    n = len(ranks)
    bits = max(1, (n - 1).bit_length())
    size = 1 << bits
    rank = np.arange(size, dtype=np.int64)
    rank[:n] = ranks
    place = np.arange(size, dtype=np.int64)
    counts = np.zeros(size, dtype=np.int64)
    for bit in range(bits - 1, -1, -1):
        half = 1 << bit
        upper = (rank & half) != 0
        below = np.cumsum(~upper.reshape(-1, 2 * half), axis=1, dtype=np.int64).reshape(-1)
        counts[place[upper]] += below[upper]
        lower = ~upper
        rank = np.concatenate((rank[lower].reshape(-1, half), rank[upper].reshape(-1, half)), axis=1).reshape(-1)
        place = np.concatenate((place[lower].reshape(-1, half), place[upper].reshape(-1, half)), axis=1).reshape(-1)
    return counts[:n]


def spans(values: Floats | Ints) -> tuple[Ints, Ints]:
    """For every value, how many values are less than it, and how many are at most it."""
    order = np.argsort(values)
    ordered = values[order]
    n = len(values)
    new = np.ones(n, dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, n))
    less, most = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    # Sorting once and spreading each group's ends beats searching for every value.
    less[order] = np.repeat(starts, sizes)
    most[order] = np.repeat(starts + sizes, sizes)
    return less, most


def concordance(x: Floats, y: Floats) -> Ints:
    """For every i, the sum over j of sgn(x_i - x_j) * sgn(y_i - y_j), ties counting nothing."""
    return _concordance(spans(x), spans(y))


def _concordance(x_span: tuple[Ints, Ints], y_span: tuple[Ints, Ints]) -> Ints:
    """The same from the spans, which carry everything about the order of the values."""
    (x_less, x_most), (y_less, y_most) = x_span, y_span
    n = len(x_less)
    # Order by x up, y down: whatever is earlier and smaller in y is then smaller in x as well.
    order = np.argsort(x_less * (n + 1) - y_less)
    # Equal y must not count as smaller: among equals the earlier place gets the larger rank.
    places = np.arange(n)
    ranks = np.empty(n, dtype=np.int64)
    ranks[np.argsort(y_less[order] * (n + 1) - places)] = places
    both_less = np.empty(n, dtype=np.int64)
    both_less[order] = smaller_before(ranks)
    x_first, x_last = spans(x_less * (n + 1) + y_less)
    y_first, _ = spans(y_less * (n + 1) + x_less)
    x_tied_y_less = x_first - x_less
    x_less_y_more = x_less - both_less - (y_first - y_less)
    x_more_y_less = y_less - both_less - x_tied_y_less
    x_tied_y_more = x_most - x_last
    both_more = (n - y_most) - x_less_y_more - x_tied_y_more
    return both_less + both_more - x_less_y_more - x_more_y_less


def tau_b(x: Floats, y: Floats) -> float | None:
    """Kendall's tau-b of a sample; None where either side is constant."""
    n = len(x)
    x_span, y_span = spans(x), spans(y)
    # Python integers: exact whatever the size.
    pairs_x = n * n - int(np.sum(x_span[1] - x_span[0]))
    pairs_y = n * n - int(np.sum(y_span[1] - y_span[0]))
    if pairs_x == 0 or pairs_y == 0:
        return None
    return int(np.sum(_concordance(x_span, y_span))) / math.sqrt(pairs_x * pairs_y)
