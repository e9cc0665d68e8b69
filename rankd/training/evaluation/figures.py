"""What a ranker is worth on a sample of rows: tau-b, realised gain, by model, source and script, against the ceiling.

All sums over pairs are ``rankd.quality``'s, so that a figure here is what the daemon would say of the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.censoring.cohort_tau import effective_horizon
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.pair_sums import RowPairSums, Statistic, pair_sums, strata
from rankd.quality.statistics.paired_comparison import bounded
from rankd.quality.values import MAX_TOKENS
from rankd.training.data.dataset import Row
from rankd.training.data.scripts import script_of
from rankd.training.evaluation.ceiling import Ceiling, ceiling_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Z = 1.959964
"""Normal quantile of the intervals (two-sided 95 %)."""
_LARGE = 30
"""Rows of a source and model from which its own spread is known."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows with a score each; columns are [n]."""

    rows: Sequence[Row]
    score: Floats
    expected: Floats | None
    """Tokens that the ranker's calibration expects; None where it has none."""
    length: Ints
    """Output tokens up to the stratum's horizon; a lower bound where not ``known``."""
    known: Bools
    stratum: Ints
    """Source and model: pairs count within one only."""
    prompt: Ints
    """Equal for equal prompts, which are one piece of evidence, not several."""

    def at(self, rows: Ints) -> ScoredRows:
        """Some of the rows."""
        return ScoredRows(
            [self.rows[i] for i in rows.tolist()],
            self.score[rows],
            None if self.expected is None else self.expected[rows],
            self.length[rows],
            self.known[rows],
            self.stratum[rows],
            self.prompt[rows],
        )


@dataclass(frozen=True, slots=True)
class EvaluationFigures:
    """One line of figures; None where the rows do not decide it."""

    name: str
    rows: int
    censored: int
    """Rows of which only a lower bound is known."""
    tau: Interval | None
    realised_gain: Interval | None
    mean_tokens: float
    expected_tokens: float | None
    """Mean of what the calibration expects."""
    ceiling: Ceiling | None


def scored(rows: Sequence[Row], score: Floats, expected: Floats | None) -> ScoredRows:
    """Lay rows out; lengths count up to where answers of their source and model stop being observed.

    Args:
        rows: [n].
        score: finite, [n].
        expected: tokens, [n].
    """
    tokens = np.array([min(r.tokens, MAX_TOKENS) for r in rows], dtype=np.int64)
    known = np.array([r.complete for r in rows], dtype=np.bool_)
    stratum = numbered([r.group for r in rows])
    for here in strata(stratum):
        horizon = effective_horizon(tokens[here], known[here], MAX_TOKENS)
        tokens[here] = np.minimum(tokens[here], horizon)
        known[here] |= tokens[here] >= horizon
    return ScoredRows(rows, score, expected, tokens, known, stratum, numbered([r.prompt for r in rows]))


def numbered(values: Sequence[Hashable]) -> Ints:
    """Number values by their first occurrence."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(v, len(numbers)) for v in values], dtype=np.int64)


def sums_of(sample: ScoredRows) -> RowPairSums:
    """Sums over the pairs within every source and model."""
    return pair_sums([sample.score], sample.length, sample.known, sample.stratum)


def with_interval(statistic: Statistic, sample: ScoredRows) -> Interval | None:
    """A figure with its 95 % interval: large sources and models are given, prompts are what could have been others.

    Rows of small ones are taken as drawn from all: of two rows, which share their one pair, nothing can be learned.
    """
    if statistic is None:
        return None
    value, influence = statistic
    centred = influence.copy()
    for here in strata(sample.stratum):
        if len(here) >= _LARGE:
            centred[here] -= centred[here].mean()
    return bounded((value, centred), sample.prompt, Z, serial=False)


def figures_of(name: str, sample: ScoredRows, sums: RowPairSums) -> EvaluationFigures:
    """The figures of rows that make up whole strata of ``sums``."""
    expected = sample.expected
    return EvaluationFigures(
        name,
        len(sample.rows),
        sum(not r.complete for r in sample.rows),
        with_interval(sums.tau_b(), sample),
        with_interval(sums.realised_gain(), sample),
        float(sample.length.mean()),
        None if expected is None else float(expected.mean()),
        ceiling_of(sample.rows, sample.score, sample.stratum),
    )


def by_label(sample: ScoredRows, sums: RowPairSums, label: Callable[[Row], str]) -> list[EvaluationFigures]:
    """Figures for every value of a label that whole strata share, as model and source; the most rows first."""
    return _split(sample, [label(r) for r in sample.rows], lambda _, rows: sums.at(rows))


def by_script(sample: ScoredRows) -> list[EvaluationFigures]:
    """Figures for every script: pairs of prompts of one script, of one source and model."""
    prompts = {p: script_of(p) for p in {r.prompt for r in sample.rows}}
    return _split(sample, [prompts[r.prompt] for r in sample.rows], lambda part, _: sums_of(part))


def _split(
    sample: ScoredRows, labels: Sequence[str], sums: Callable[[ScoredRows, Ints], RowPairSums]
) -> list[EvaluationFigures]:
    names = list(dict.fromkeys(labels))
    numbers = numbered(labels)
    parts = [(name, np.flatnonzero(numbers == i)) for i, name in enumerate(names)]
    out = []
    for name, rows in sorted(parts, key=lambda part: (-len(part[1]), part[0])):
        part = sample.at(rows)
        out.append(figures_of(name, part, sums(part, rows)))
    return out


def head_and_tail(sample: ScoredRows) -> tuple[float | None, float | None]:
    """tau-b among answers up to, and above, the median length of their source and model."""
    median = np.empty(len(sample.length))
    for here in strata(sample.stratum):
        median[here] = np.median(sample.length[here])
    tail = sample.length > median
    # A lower bound up to the median may belong to either side.
    return _tau(sample, np.flatnonzero(~tail & sample.known)), _tau(sample, np.flatnonzero(tail))


def _tau(sample: ScoredRows, rows: Ints) -> float | None:
    statistic = pair_sums([sample.score[rows]], sample.length[rows], sample.known[rows], sample.stratum[rows]).tau_b()
    return None if statistic is None else statistic[0]


def pooled_tau(sample: ScoredRows) -> float | None:
    """tau-b over all pairs, as if every row were in one queue: lengths of different models compared as they are."""
    statistic = pair_sums([sample.score], sample.length, sample.known, np.zeros_like(sample.stratum)).tau_b()
    return None if statistic is None else statistic[0]


def decided_share(sample: ScoredRows, sums: RowPairSums) -> float | None:
    """Share of the pairs within a source and model whose order is known."""
    pairs = sum(len(rows) * (len(rows) - 1) for rows in strata(sample.stratum))
    return float(sums.decided.sum()) / pairs if pairs else None
