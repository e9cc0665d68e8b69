"""What scores are worth on whole sources: tau-b and realised gain against every model that answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.pair_sums import pair_sums
from rankd.training.data.dataset import Row

FEWEST = 50
"""Answers of a model below which its tau is left out."""
Score = Callable[[Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class SourceEvaluation:
    """Scores against the answers of one model to the prompts of one source."""

    source: str
    model: str
    rows: int
    tau: float
    gain: float


def evaluate_source(score: Score, rows: Sequence[Row]) -> list[SourceEvaluation]:
    """Hold scores of prompts against each model's lengths; cut answers count where the order is known.

    Args:
        score: prompts in, scores out; called once, with every prompt once.
        rows: of one source.
    """
    prompts = sorted({r.prompt for r in rows})
    scores = dict(zip(prompts, score(prompts).tolist(), strict=True))
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_model[row.model].append(row)
    out = []
    for model, mine in sorted(by_model.items()):
        if len(mine) < FEWEST:
            continue
        sums = pair_sums(
            [np.array([scores[r.prompt] for r in mine])],
            np.array([r.tokens for r in mine]),
            np.array([r.complete for r in mine]),
            np.zeros(len(mine), dtype=np.int64),
        )
        tau, gain = sums.tau_b(), sums.realised_gain()
        if tau is not None and gain is not None:
            out.append(SourceEvaluation(mine[0].source, model, len(mine), tau[0], gain[0]))
    return out


def medians(evaluations: Iterable[SourceEvaluation]) -> dict[str, tuple[float, float, int, int]]:
    """By source: the median tau and gain over its models, how many models, and the rows of the largest."""
    by_source: dict[str, list[SourceEvaluation]] = defaultdict(list)
    for one in evaluations:
        by_source[one.source].append(one)
    return {
        source: (
            float(np.median([j.tau for j in mine])),
            float(np.median([j.gain for j in mine])),
            len(mine),
            max(j.rows for j in mine),
        )
        for source, mine in by_source.items()
    }


def measurements(evaluations: Iterable[SourceEvaluation], trained_on: Mapping[str, bool]) -> list[dict[str, Any]]:
    """A manifest's ``measurements``: one per source, the median over its models."""
    evaluations = list(evaluations)
    models = {j.source: j.model for j in evaluations}
    return [
        {
            "dataset": source,
            "model": models[source] if many == 1 else f"median of {many} models",
            "rows": rows,
            "kendall_tau": round(tau, 4),
            "realised_gain": round(gain, 4),
            "trained_on": trained_on.get(source, False),
        }
        for source, (tau, gain, many, rows) in medians(evaluations).items()
    ]
