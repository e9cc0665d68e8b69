"""From what a ranker said of a queue, and what was learned of its traffic, to what is expected of each request."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, FeatureHasher
from rankd.monitor.trust import Trust
from rankd.registry.loaded import LoadedRanker
from rankd.types import FloatArray, RankQueue, Reason, Scored

_AT_ONCE = 32
"""Items between two places where others may come between."""
_PREDICTED_AT_ONCE = 128
"""Items whose learned scores are made in one go: a fraction of a millisecond, and few calls of numpy."""


@dataclass(slots=True)
class FreshScores:
    """What a ranker said of the items that brought no usable prediction."""

    score: FloatArray
    """By item; NaN elsewhere."""
    texts: dict[int, bytes] = field(default_factory=dict)
    """By item: the part of its features that depends on its prompt."""
    missing: dict[int, Reason] = field(default_factory=dict)
    """By item: why it has no score."""

    @classmethod
    def of_one(cls, scored: Scored | None, missing: Reason | None) -> FreshScores:
        """What was said of a queue of one: a score, or why there is none."""
        found = cls(np.array((math.nan,)))
        if scored is not None:
            found.score[0], found.texts[0] = scored
        if missing is not None:
            found.missing[0] = missing
        return found


@dataclass(slots=True)
class Expectations:
    """What is known of the lengths of a queue's items, by column; NaN where nothing is."""

    score: FloatArray
    """The ranker's own scores, of fresh items and of those that brought one."""
    expected: FloatArray
    p50: FloatArray | None
    """Of fresh items alone, as ``p90``; None altogether where unknown."""
    p90: FloatArray | None
    learned: FloatArray | None
    """As ``score``, what was learned to tell; None where the ranker's own scores order."""
    features: dict[int, bytes]
    """By item, of fresh ones: what their predictions carry to be learned from."""


def expectation_steps(
    queue: RankQueue, ranker: LoadedRanker, trust: Trust, fresh_scores: FreshScores
) -> Generator[None, None, Expectations]:
    """What is expected of a queue's items, some items at a time.

    An echoed expectation is kept as it came: the key of a request is static.
    """
    fresh = ~np.isnan(fresh_scores.score)
    features = {}
    if ranker.hasher is not None:
        features = yield from _features(queue, ranker.hasher, fresh_scores.texts)
    scores = fresh_scores.score
    found = Expectations(
        score=np.where(fresh, scores, queue.score) if queue.echoes else scores.copy(),
        expected=np.where(fresh, np.nan, queue.expected) if queue.echoes else np.full(len(scores), np.nan),
        p50=None,
        p90=None,
        learned=None,
        features=features,
    )
    blank = np.isnan(found.expected) & (fresh | scored_by(queue, ranker.version))
    if trust.learned_in_use and trust.adaptation is not None:
        learned = yield from _learned_scores(trust.adaptation, scores, features)
        found.learned = learned if queue.learned is None else np.where(fresh, learned, queue.learned)
        _expect_by_learned(found, trust, blank, fresh)
    elif trust.calibration is not None:
        found.expected[blank] = trust.calibration.expected(found.score[blank])
        if fresh.any():
            found.p50, found.p90 = trust.calibration.p50(scores), trust.calibration.p90(scores)
    unscored = list(fresh_scores.missing)
    found.score[unscored] = found.expected[unscored] = np.nan
    return found


def scored_by(queue: RankQueue, version: str) -> NDArray[np.bool_]:
    """Which items bring a prediction of a ranker."""
    if not queue.echoes:
        return np.zeros(len(queue.request_ids), dtype=np.bool_)
    return np.array([v == version for v in queue.score_versions], dtype=np.bool_)


def _features(
    queue: RankQueue, hasher: FeatureHasher, texts: dict[int, bytes]
) -> Generator[None, None, dict[int, bytes]]:
    """What predictions of fresh items carry."""
    shapes, prompt_tokens = queue.shapes, queue.constraints.prompt_tokens
    features = {}
    for count, (i, text) in enumerate(texts.items(), 1):
        features[i] = hasher.pack(
            text,
            None if shapes is None else shapes[i],
            prompt_tokens=0.0 if prompt_tokens is None else float(prompt_tokens[i]),
            max_tokens=float(queue.max_tokens[i]),
            tenant=queue.tenant_of(i),
        )
        if count % _AT_ONCE == 0:
            yield
    return features


def _learned_scores(
    adaptation: Adaptation, scores: FloatArray, features: dict[int, bytes]
) -> Generator[None, None, FloatArray]:
    """Learned scores of fresh items, NaN elsewhere."""
    learned = np.full(len(scores), np.nan)
    items = list(features)
    for start in range(0, len(items), _PREDICTED_AT_ONCE):
        part = items[start : start + _PREDICTED_AT_ONCE]
        learned[part] = adaptation.scores(scores[part], [features[i] for i in part])
        yield
    learned[~np.isfinite(learned)] = np.nan
    return learned


def _expect_by_learned(found: Expectations, trust: Trust, blank: NDArray[np.bool_], fresh: NDArray[np.bool_]) -> None:
    """Fill in what is expected where what was learned is in use; where it says nothing, by the ranker's own scores."""
    learned = found.learned
    assert learned is not None
    told = ~np.isnan(learned)
    for calibration, values, rows in (
        (trust.calibration, learned, blank & told),
        (trust.base_calibration, found.score, blank & ~told),
    ):
        if calibration is None or not rows.any():
            continue
        found.expected[rows] = calibration.expected(values[rows])
        mine = rows & fresh
        for name in ("p50", "p90"):
            quantiles = getattr(calibration, name)(values[mine])
            if quantiles is None or not mine.any():
                continue
            column = getattr(found, name)
            if column is None:
                column = np.full(len(learned), np.nan)
                setattr(found, name, column)
            column[mine] = quantiles
