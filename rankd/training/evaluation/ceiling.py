"""How well one answer's length orders another's: about the best that any reader of the prompt alone can do.

The same model answers the same prompt in different lengths. A score that knew the mean length of a prompt's answers
would order one answer somewhat better than another single answer does, so that this ceiling can be touched, and in
small samples passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.pair_sums import pair_sums
from rankd.training.data.dataset import Row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_SAMPLES = 8
"""Samples of a prompt that are compared: 28 pairs of them."""
_FEWEST = 8
"""Rows with two samples below which a ceiling is noise."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The mean over pairs of samples, and the ranker on the same rows."""

    tau: float
    realised_gain: float | None
    rows: int
    sample_pairs: int
    ranker_tau: float | None
    ranker_gain: float | None

    @property
    def tau_share(self) -> float | None:
        """Tau of the ranker ÷ ceiling."""
        return None if self.ranker_tau is None or self.tau <= 0 else self.ranker_tau / self.tau

    @property
    def gain_share(self) -> float | None:
        """Realised gain of the ranker ÷ that of a sample used as the score."""
        ceiling = self.realised_gain
        return None if self.ranker_gain is None or ceiling is None or ceiling <= 0 else self.ranker_gain / ceiling


def ceiling_of(rows: Sequence[Row], score: Floats, stratum: Ints) -> Ceiling | None:
    """Compare the samples of each row; None where too few rows have two.

    Only rows whose own answer is complete count, since that is what the ranker is held against.

    Args:
        rows: [n].
        score: the ranker's, [n].
        stratum: pairs count within one only, [n].
    """
    with_samples = np.array([i for i, r in enumerate(rows) if r.samples and r.complete], dtype=np.int64)
    if len(with_samples) < _FEWEST:
        return None
    columns = _columns([rows[i] for i in with_samples.tolist()])
    stratum = stratum[with_samples]
    taus = [_compare(a, b, stratum)[0] for a, b in combinations(columns, 2)]
    gains = [_compare(a, b, stratum)[1] for a, b in permutations(columns, 2)]
    known_taus, gained = [t for t in taus if t is not None], [g for g in gains if g is not None]
    if not known_taus:
        return None
    own = _compare(score[with_samples], columns[0], stratum)
    return Ceiling(
        float(np.mean(known_taus)),
        float(np.mean(gained)) if gained else None,
        len(with_samples),
        len(known_taus),
        *own,
    )


def _columns(rows: Sequence[Row]) -> list[Floats]:
    """The row's own length, then further samples, NaN where a row has none.

    One that repeats another throughout is the same answer listed twice, and left out.
    """
    most = min(MOST_SAMPLES - 1, max(len(r.samples) for r in rows))
    table = np.full((1 + most, len(rows)), np.nan)
    for i, row in enumerate(rows):
        lengths = (row.tokens, *row.samples[:most])
        table[: len(lengths), i] = lengths
    columns: list[Floats] = []
    for column in table:
        if not any(np.array_equal(column, other, equal_nan=True) for other in columns):
            columns.append(column)
    return columns


def _compare(score: Floats, length: Floats, stratum: Ints) -> tuple[float | None, float | None]:
    """tau-b and realised gain of one column against another, over the rows that have both."""
    both = np.isfinite(score) & np.isfinite(length)
    if both.sum() < _FEWEST:
        return None, None
    known = np.ones(int(both.sum()), dtype=np.bool_)
    sums = pair_sums([score[both]], length[both].astype(np.int64), known, stratum[both])
    tau, gain = sums.tau_b(), sums.realised_gain()
    return None if tau is None else tau[0], None if gain is None else gain[0]
