"""A stream of completions through the real ``Adaptation``, and how well it was ordered by what was in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, LearnedCompletion

Floats = NDArray[np.float64]

BLOCK = 32
"""Completions that are predicted at once: what is learned changes no more often."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in the order of their completion: columns of [n]."""

    score: Floats
    features: Sequence[bytes]
    tokens: NDArray[np.int64]
    source: NDArray[np.int64]
    """Of their tenant; 0 for none."""

    def __len__(self) -> int:
        """How many."""
        return len(self.score)

    def at(self, places: NDArray[np.int64]) -> Requests:
        """Some of them, in this order."""
        features = [self.features[at] for at in places.tolist()]
        return Requests(self.score[places], features, self.tokens[places], self.source[places])

    def of(self, source: int) -> Requests:
        """The same of one tenant."""
        return Requests(self.score, self.features, self.tokens, np.full(len(self), source))

    def reported(self, tokens: NDArray[np.int64]) -> Requests:
        """The same with other lengths."""
        return Requests(self.score, self.features, tokens, self.source)


def joined(parts: Sequence[Requests]) -> Requests:
    """One after the other."""
    return Requests(
        np.concatenate([part.score for part in parts]),
        [features for part in parts for features in part.features],
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.source for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Served:
    """How requests were ordered: columns of [n]."""

    base: Floats
    learned: Floats
    """NaN where nothing was learned yet."""
    in_use: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    left_out: int

    def agreement(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Tau of the ranker alone, and of what was in use, over the pairs of some rows.

        A pair is ordered by what is in use when the later one arrives: at a switch all that wait are ordered anew.
        """
        length = _signs(self.tokens[rows])
        base, learned = _signs(self.base[rows]), _signs(np.nan_to_num(self.learned[rows]))
        later = np.maximum(np.arange(len(rows))[:, None], np.arange(len(rows))[None, :])
        used = np.where(self.in_use[rows][later], learned, base)
        return _tau(base, length), _tau(used, length)


def served(adaptation: Adaptation, requests: Requests) -> Served:
    """Predict and learn, one block after the other."""
    size = len(requests)
    learned, in_use = np.full(size, np.nan), np.zeros(size, bool)
    for start in range(0, size, BLOCK):
        places = np.arange(start, min(start + BLOCK, size))
        part = requests.at(places)
        learned[places] = adaptation.scores(part.score, part.features)
        in_use[places] = adaptation.in_use
        for at in places.tolist():
            adaptation.completed(
                LearnedCompletion(
                    float(requests.score[at]),
                    requests.features[at],
                    int(requests.tokens[at]),
                    True,
                    int(requests.source[at]),
                    float(at),
                    float(learned[at]),
                )
            )
        work = adaptation.job(float(places[-1]))
        if work is not None:
            adaptation.take(work(), float(places[-1]))
    return Served(requests.score, learned, in_use, requests.tokens, adaptation.status.left_out)


Signs = NDArray[np.int8]


def _signs(values: NDArray[np.float64] | NDArray[np.int64]) -> Signs:
    return np.sign(values[:, None] - values[None, :]).astype(np.int8)


def _tau(order: Signs, length: Signs) -> float:
    untied = np.count_nonzero(order) * np.count_nonzero(length)
    return float((order * length).sum(dtype=np.int64)) / max(math.sqrt(untied), 1.0)
