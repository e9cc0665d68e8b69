"""Each complete report compared once with those just before it: sums that only grow, and add up over replicas.

Everything a fleet's tau-b, realised gain and their intervals need is in these sums, so that who adds up the
replicas' needs no request. docs/science/fleet.md derives the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics import interval
from rankd.quality.statistics.interval import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS = ("concordant", "discordant", "tied_score", "tied_length", "tied_both")
"""What a pair can be; they exclude each other and are all there is. ``tied_score``, ``tied_length``: in that only."""
TOKENS = ("concordant", "discordant", "tied_score")
"""Pairs that differ in length, which their length difference is summed by."""
PRODUCTS = (
    "agree_agree",
    "concordant_score",
    "discordant_score",
    "concordant_length",
    "discordant_length",
    "score_score",
    "score_length",
    "length_length",
)
"""Products of two averages over a report's pairs: shares of pairs that are concordant or discordant, agree (the first
less the second), differ in score, differ in length. None is below 0; "agree" times another is a difference."""
TOKEN_PRODUCTS = ("gain_gain", "concordant_spread", "discordant_spread", "spread_spread")
"""The same of the length differences: concordant ones, discordant ones, gain (the difference), spread (all)."""
SIZE = 1 + len(PAIRS) + len(TOKENS) + len(PRODUCTS) + len(TOKEN_PRODUCTS)
LEAST = 30
"""Reports below which a fleet's interval is not attempted."""


class Comparer:
    """Compares complete reports of one stream with the ``window`` before each, and adds up.

    ``totals`` is replaced and never changed in place: any thread may read it.
    """

    def __init__(self, window: int) -> None:
        """Begin with nothing to compare with."""
        self.totals: Floats = np.zeros(SIZE)
        self._window = window
        self._score = np.zeros(window)
        self._tokens = np.zeros(window, dtype=np.int64)
        self._taken = 0

    def add(self, score: float, tokens: int) -> None:
        """Take the next complete report: O(window), some 20 µs at 256."""
        size = min(self._taken, self._window)
        if size:
            self.totals = self.totals + row(score, tokens, self._score[:size], self._tokens[:size])
        self.remember(score, tokens)

    def remember(self, score: float, tokens: int) -> None:
        """Take a report to compare later ones with, without counting it."""
        slot = self._taken % self._window
        self._score[slot], self._tokens[slot] = score, tokens
        self._taken += 1

    def compare_with(self, score: Floats, tokens: Ints) -> None:
        """Compare later reports with the latest of these, the oldest first, and with no others; counts nothing."""
        self._taken = size = min(len(score), self._window)
        self._score[:size], self._tokens[:size] = score[len(score) - size :], tokens[len(tokens) - size :]

    def recent(self) -> tuple[Floats, Ints]:
        """Scores and lengths of the reports that the next one is compared with, oldest first."""
        size = min(self._taken, self._window)
        order = np.arange(self._taken - size, self._taken) % self._window
        return self._score[order], self._tokens[order]


def row(score: float, tokens: int, scores: Floats, lengths: Ints) -> Floats:
    """What one report adds to the sums, given those before it (at least one), in the order of the names above."""
    step = tokens - lengths
    above, below = score > scores, score < scores
    longer, shorter = step > 0, step < 0
    agree, oppose = (above & longer) | (below & shorter), (above & shorter) | (below & longer)
    spread = np.abs(step)
    n = len(scores)
    concordant, discordant = int(np.count_nonzero(agree)), int(np.count_nonzero(oppose))
    score_untied, length_untied = int(np.count_nonzero(above | below)), int(np.count_nonzero(step))
    gained, lost, all_tokens = int(spread[agree].sum()), int(spread[oppose].sum()), int(spread.sum())
    differ = concordant + discordant
    k, d, s, u = concordant / n, discordant / n, score_untied / n, length_untied / n
    up, down, v = gained / n, lost / n, all_tokens / n
    return np.array(
        (
            1,
            concordant,
            discordant,
            length_untied - differ,
            score_untied - differ,
            n - score_untied - length_untied + differ,
            gained,
            lost,
            all_tokens - gained - lost,
            (k - d) * (k - d),
            k * s,
            d * s,
            k * u,
            d * u,
            s * s,
            s * u,
            u * u,
            (up - down) * (up - down),
            up * v,
            down * v,
            v * v,
        )
    )


def counters(totals: Floats) -> Iterator[tuple[str, dict[str, str], float]]:
    """``totals`` as counters: the metric's name, labels and value."""
    values = iter(totals.tolist())
    yield "rankd.quality.compared", {}, next(values)
    for metric, label, names in (
        ("pairs", "kind", PAIRS),
        ("pair_tokens", "kind", TOKENS),
        ("pair_products", "of", PRODUCTS),
        ("pair_token_products", "of", TOKEN_PRODUCTS),
    ):
        for name in names:
            yield f"rankd.quality.{metric}", {label: name}, next(values)


class CounterTotals:
    """Totals, added up over replicas or over a time, by name; reads as the formulas in docs/science/fleet.md do."""

    def __init__(self, totals: Floats) -> None:
        """Name the parts of ``totals``, float64[SIZE]."""
        values = iter(totals.tolist())
        self.reports = next(values)
        self.pairs, self.tokens, self.products, self.token_products = (
            {name: next(values) for name in names} for names in (PAIRS, TOKENS, PRODUCTS, TOKEN_PRODUCTS)
        )

    def tau(self, z: float) -> Interval | None:
        """Tau-b of all pairs compared, with its interval; None where undefined or of fewer than ``LEAST`` reports."""
        pairs, m = self.pairs, self.products
        differ = pairs["concordant"] + pairs["discordant"]
        total = sum(pairs.values())
        if self.reports < LEAST or differ + pairs["tied_length"] <= 0 or differ + pairs["tied_score"] <= 0:
            return None
        b, c = (differ + pairs["tied_length"]) / total, (differ + pairs["tied_score"]) / total
        tau = (pairs["concordant"] - pairs["discordant"]) / total / math.sqrt(b * c)
        squares = (
            m["agree_agree"] / (b * c)
            - tau
            * (
                (m["concordant_score"] - m["discordant_score"]) / b
                + (m["concordant_length"] - m["discordant_length"]) / c
            )
            / math.sqrt(b * c)
            + tau * tau / 4 * (m["score_score"] / b**2 + m["length_length"] / c**2 + 2 * m["score_length"] / (b * c))
        )
        return interval.around(tau, 2 * math.sqrt(max(squares, 0.0)) / self.reports, z)

    def realised_gain(self, z: float) -> Interval | None:
        """Realised gain over all pairs compared, with its interval; None as for ``tau``."""
        tokens, m = self.tokens, self.token_products
        spread = sum(tokens.values())
        if self.reports < LEAST or spread <= 0:
            return None
        gain = (tokens["concordant"] - tokens["discordant"]) / spread
        mean = spread / sum(self.pairs.values())
        squares = (
            m["gain_gain"]
            - 2 * gain * (m["concordant_spread"] - m["discordant_spread"])
            + gain * gain * m["spread_spread"]
        ) / mean**2
        return interval.around(gain, 2 * math.sqrt(max(squares, 0.0)) / self.reports, z)
