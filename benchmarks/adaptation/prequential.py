"""A stream of completions, each predicted before it is learned from, through the daemon's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import Adaptation, LearnedCompletion
from rankd.quality.statistics.paired_comparison import PairedSample, compare

STEP = 100
"""Completions that compare with each other where learning changes much: those that wait in a queue together."""


@dataclass(frozen=True, slots=True)
class Tau:
    """Over some completions: of the ranker alone, of what was learned, and of what was in use."""

    base: float
    learned: float
    used: float
    in_use: float
    """Share of the completions that came while the learned score was in use."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was predicted of a stream; columns of [n]."""

    base: NDArray[np.float64]
    learned: NDArray[np.float64]
    tokens: NDArray[np.int64]
    complete: NDArray[np.bool_]
    in_use: NDArray[np.bool_]

    def over(self, start: int, stop: int) -> Tau:
        """Pairs of all these completions."""
        at = slice(start, stop)
        size = len(self.base[at])
        learned = np.where(np.isnan(self.learned[at]), self.base[at], self.learned[at])
        found = compare(
            PairedSample(
                learned,
                self.base[at],
                self.tokens[at],
                self.complete[at],
                np.zeros(size, np.int64),
                np.arange(size),
            )
        )
        base, own = (
            figures.tau.value if figures.tau else float("nan") for figures in (found.incumbent, found.candidate)
        )
        share = float(self.in_use[at].mean())
        return Tau(base, own, own if share > 0.5 else base, share)

    def mean(self, start: int, stop: int) -> Tau:
        """The mean over runs of ``STEP`` completions: pairs are of completions at about the same time."""
        parts = [self.over(at, min(at + STEP, stop)) for at in range(start, stop, STEP)]
        return Tau(*(float(np.mean([getattr(part, name) for part in parts])) for name in Tau.__slots__))


def predict(completions: Sequence[LearnedCompletion]) -> Predicted:
    """Predict each, then report it, a second apart; what a daemon does in its worker thread is done at once."""
    adaptation, learned, in_use = Adaptation(), [], []
    for second, one in enumerate(completions):
        score = float(adaptation.scores(np.array([one.score]), [one.features])[0])
        learned.append(score)
        in_use.append(adaptation.in_use)
        adaptation.completed(replace(one, at=float(second), learned=score))
        if (job := adaptation.job(float(second))) is not None:
            adaptation.take(job(), float(second))
    return Predicted(
        np.array([one.score for one in completions]),
        np.array(learned),
        np.array([one.tokens for one in completions]),
        np.array([one.complete for one in completions]),
        np.array(in_use),
    )
