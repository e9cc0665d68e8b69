"""A cap on overtaking: counting how often an order overtakes somebody, and serving so that it stays within the cap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.fair_shares import FairShares
from rankd_client.ordering.rules import FloatArray, IntArray

Level = NDArray[np.generic]


def one_by_one(
    rows: NDArray[np.intp],
    above: Sequence[Level],
    shares: FairShares | None,
    rank: IntArray,
    arrival: FloatArray,
    overtaken: IntArray,
    cap: int,
    places: int,
) -> NDArray[np.intp]:
    """Serve rows one after the other: who may not be overtaken any more holds back all that arrived later.

    Each place takes a pass over all rows, some 70 us for 10,000: only for a cap that binds, and for so many places.

    Args:
        rows: whom to serve, in the order that they have without the cap.
        above: by request, what counts before the tenants' shares.
        shares: the tenants' counters; None where there is but one tenant.
        rank: by request, its place by all that counts after them; no two are the same.
        arrival: by request.
        overtaken: by request, how often so far.
        cap: how often at most.
        places: how many to serve by the cap; the rest follow as they came.
    """
    times, counts, ranks = arrival[rows], overtaken[rows].copy(), rank[rows]
    out = np.empty(min(places, len(rows)), dtype=np.intp)
    for place in range(len(out)):
        blocked = counts >= cap
        some = np.flatnonzero(times <= times[blocked].min()) if blocked.any() else np.arange(len(rows))
        for level in above:
            some = lowest(level[rows], some)
        if shares is not None:
            some = lowest(shares.counters(rows), some)
        at = int(some[ranks[some].argmin()])
        out[place] = rows[at]
        if shares is not None:
            shares.charge(int(rows[at]))
        counts += times < times[at]
        rows, times = np.delete(rows, at), np.delete(times, at)
        counts, ranks = np.delete(counts, at), np.delete(ranks, at)
    return np.concatenate((out, rows))


def lowest(values: Level, rows: NDArray[np.intp] | None) -> NDArray[np.intp]:
    """Of some rows, or all where None, those of the lowest value."""
    if rows is None:
        return np.flatnonzero(values == values.min())
    mine = values[rows]
    least: NDArray[np.intp] = rows[mine == mine.min()]
    return least


def overtakes(arrival: FloatArray) -> IntArray:
    """How many of those before each entry arrived later than it, [n]: inversions by merging, O(n log n)."""
    n = len(arrival)
    rank = np.unique(arrival, return_inverse=True)[1]
    counts: IntArray = np.zeros(n, dtype=np.int64)
    # Block by block: within a block of the sequence against all blocks before, by sorted insertion.
    seen = np.empty(0, dtype=rank.dtype)
    block = 256
    for start in range(0, n, block):
        part = rank[start : start + block]
        counts[start : start + len(part)] = len(seen) - np.searchsorted(seen, part, side="right")
        later = part[None, :] > part[:, None]
        counts[start : start + len(part)] += np.tril(later, -1).sum(axis=1)
        seen = np.sort(np.concatenate((seen, part)))
    return counts
