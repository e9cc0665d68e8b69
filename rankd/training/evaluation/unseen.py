"""Rows that a ranker was not made of: on its own it is flattered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankd.registry.artifact import Artifact
from rankd.registry.seen import CompletionColumns, learned_traffic, listed_prompts, says_all
from rankd.training.data.row import Row


@dataclass(frozen=True, slots=True)
class UnseenRows:
    """What is left of some rows."""

    rows: list[Row]
    left_out: int
    """Rows that the ranker, or one of the rankers, was made of."""
    all_known: bool
    """Whether all of them say what they were made of."""


def unseen_rows(rankers: Sequence[Artifact], rows: Sequence[Row]) -> UnseenRows:
    """Leave out what any of the rankers was made of, by their manifests; about 20 µs a row and ranker."""
    columns = CompletionColumns(
        [r.prompt for r in rows],
        [r.model for r in rows],
        np.array([np.nan if r.at is None else r.at for r in rows], np.float64),
    )
    seen = np.zeros(len(rows), np.bool_)
    for ranker in rankers:
        seen |= listed_prompts(ranker.prompts, columns) | learned_traffic(ranker.manifest, columns)
    left = [row for row, out in zip(rows, seen.tolist(), strict=True) if not out]
    return UnseenRows(left, int(seen.sum()), all(says_all(r.manifest) for r in rankers))


def in_words(unseen: UnseenRows) -> str:
    """What was left out, or may have been missed; empty where there is nothing to say."""
    if unseen.left_out:
        return f"{unseen.left_out:,} rows left out, as the ranker was trained or tuned on their prompts"
    return "" if unseen.all_known else "the ranker does not say what it was trained on: on rows of that it is flattered"
