"""What learning the traffic would have brought on rows in their order, as the daemon learns it.

Every row is predicted before it is learned from, by what was learned of the rows before it; what a daemon does in its
worker thread is done at once. Each served model is learned apart, and pairs count within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, AdaptationState, FeatureHasher, LearnedCompletion
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import PairedSample, compare
from rankd.settings import AdaptSection
from rankd.training.data.dataset import Row

NEXT = 500
"""Completions of a model that a figure is taken over, or what is left."""
FEWEST = 50
"""Completions below which none is taken."""
FIRST = 200
"""Completions before the first figure."""
_REPORT_EVERY = 100

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AdaptPoint:
    """Figures over the completions that came next, after so many."""

    completions: int
    """Of each served model, before those that the figures are of."""
    rows: int
    """That the figures are of."""
    base_tau: Interval | None
    """Of the ranker's own scores; None: undefined."""
    adapted_tau: Interval | None
    """Of the learned scores, each as it was before its row was learned from; None: undefined, or nothing learned."""
    difference: Interval | None
    """The second less the first, paired."""
    in_use: float
    """Share of the rows that came while the learned score was in use."""

    @property
    def is_gain(self) -> bool:
        """Whether the whole interval of the difference is above 0."""
        return self.difference is not None and self.difference.low > 0


@dataclass(frozen=True, slots=True)
class ModelLearned:
    """How learning went for one served model."""

    model: str
    completions: int
    in_use_after: int | None
    """Completions after which the learned score came into use first; None: it never did."""
    switches: int
    state: AdaptationState
    """At the end."""


@dataclass(frozen=True, slots=True)
class AdaptEvaluation:
    """What learning would have brought."""

    points: list[AdaptPoint]
    models: list[ModelLearned]
    """The most rows first."""
    rows: int

    @property
    def pays_from(self) -> int | None:
        """Completions from which on it is surely better at one point, and better at each later one; None: it is not."""
        found = None
        for point in reversed(self.points):
            if point.difference is None or point.difference.value <= 0:
                break
            found = point.completions if point.is_gain else found
        return found


@dataclass(slots=True)
class _Column:
    """One served model's completions, in their order."""

    model: str
    adaptation: Adaptation
    rows: list[int] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)
    in_use: list[bool] = field(default_factory=list)
    in_use_after: int | None = None


def evaluate_adaptation(
    rows: Sequence[Row],
    scores: Floats,
    texts: Sequence[bytes],
    hasher: FeatureHasher,
    settings: AdaptSection,
    on_progress: Callable[[int, int], None] | None = None,
) -> AdaptEvaluation:
    """Learn from rows in their order, and take figures after 200, 500, 1,000, 2,000, 5,000 ... of each served model.

    Args:
        rows: in the order in which they ended.
        scores: the ranker's own, finite, [rows].
        texts: the text's part of their features, [rows]; empty where there is none.
        hasher: of the request's shape.
        settings: the daemon's.
        on_progress: called with rows done, of how many.
    """
    columns: dict[str, _Column] = {}
    now = 0.0
    for index, row in enumerate(rows):
        if (column := columns.get(row.model)) is None:
            column = columns[row.model] = _Column(row.model, new_adaptation(settings))
        now = max(now, float(index) if row.at is None else row.at)
        _take(column, index, _completion(row, float(scores[index]), texts[index], hasher, now), now)
        if on_progress is not None and (index % _REPORT_EVERY == 0 or index + 1 == len(rows)):
            on_progress(index + 1, len(rows))
    table = _Table(rows, scores, columns)
    longest = max((len(c.rows) for c in columns.values()), default=0)
    points = [point for n in _counts(longest - FEWEST) if (point := table.point(n)) is not None]
    ordered = sorted(columns.values(), key=lambda c: (-len(c.rows), c.model))
    return AdaptEvaluation(points, [_learned(c) for c in ordered], len(rows))


def new_adaptation(settings: AdaptSection) -> Adaptation:
    """As a daemon with these settings makes one."""
    return Adaptation(
        completions=settings.completions, min_completions=settings.min_completions, forget_after=settings.forget_after
    )


def features_of(row: Row, text: bytes, hasher: FeatureHasher) -> bytes:
    """What the prediction of a row's request would carry."""
    if row.packed_shape:
        return row.packed_shape + text
    return hasher.pack(text, row.shape, prompt_tokens=row.prompt_tokens, max_tokens=row.max_tokens, tenant=row.tenant)


def _completion(row: Row, score: float, text: bytes, hasher: FeatureHasher, now: float) -> LearnedCompletion:
    source = hasher.bucket("source", row.tenant) if row.tenant else 0
    return LearnedCompletion(score, features_of(row, text, hasher), row.tokens, row.complete, source, now)


def _take(column: _Column, index: int, completion: LearnedCompletion, now: float) -> None:
    """Predict a completion, learn from it, and do what work is due."""
    adaptation = column.adaptation
    learned = float(adaptation.scores(np.array([completion.score]), [completion.features])[0])
    column.rows.append(index)
    column.learned.append(learned)
    column.in_use.append(adaptation.in_use)
    adaptation.completed(
        LearnedCompletion(
            completion.score,
            completion.features,
            completion.tokens,
            completion.complete,
            completion.source,
            now,
            learned,
        )
    )
    if (job := adaptation.job(now)) is not None:
        adaptation.take(job(), now)
        if adaptation.in_use and column.in_use_after is None:
            column.in_use_after = len(column.rows)


def _learned(column: _Column) -> ModelLearned:
    status = column.adaptation.status
    return ModelLearned(column.model, len(column.rows), column.in_use_after, status.switches, status.state)


def _counts(most: int) -> Iterator[int]:
    """200, 500, 1,000, 2,000 ... up to ``most``."""
    scale = FIRST // 2
    while True:
        for step in (1, 2, 5):
            if step * scale > most:
                return
            if step * scale >= FIRST:
                yield step * scale
        scale *= 10


class _Table:
    """All rows as columns, [rows]."""

    def __init__(self, rows: Sequence[Row], scores: Floats, columns: dict[str, _Column]) -> None:
        self._columns = list(columns.values())
        self._scores = scores
        self._tokens = np.array([r.tokens for r in rows], np.int64)
        self._complete = np.array([r.complete for r in rows], np.bool_)
        numbers: dict[str, int] = {}
        self._prompt = np.array([numbers.setdefault(r.prompt, len(numbers)) for r in rows], np.int64)
        self._stratum, self._learned = np.zeros(len(rows), np.int64), np.full(len(rows), np.nan)
        self._in_use = np.zeros(len(rows), np.bool_)
        for number, column in enumerate(self._columns):
            self._stratum[column.rows] = number
            self._learned[column.rows] = column.learned
            self._in_use[column.rows] = column.in_use

    def point(self, completions: int) -> AdaptPoint | None:
        """Figures after so many of each model; None where too few follow."""
        parts = [c.rows[completions : completions + NEXT] for c in self._columns]
        here = np.array(sorted(i for part in parts if len(part) >= FEWEST for i in part), np.int64)
        if not len(here):
            return None
        known = here[np.isfinite(self._learned[here])]
        judged = known if len(known) >= FEWEST else here
        candidate = self._learned if len(known) >= FEWEST else self._scores
        found = compare(
            PairedSample(
                candidate[judged],
                self._scores[judged],
                self._tokens[judged],
                self._complete[judged],
                self._stratum[judged],
                self._prompt[judged],
            )
        )
        learned = candidate is self._learned
        return AdaptPoint(
            completions,
            len(judged),
            found.incumbent.tau,
            found.candidate.tau if learned else None,
            found.tau_difference if learned else None,
            float(self._in_use[here].mean()),
        )
