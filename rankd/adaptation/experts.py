"""Several heads that compete: what each predicted before it learned says how much it counts."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.solver import clipped

Floats = NDArray[np.float64]


class Expert(enum.IntEnum):
    """A way to learn from the same completions."""

    SCORE = 0
    """The ranker's score alone: it can do no harm, and is all there is at first."""
    SHAPE = 1
    """Beside it the shape of the request, without its text."""
    LONG = 2
    """All features, all completions that are kept."""
    MIDDLE = 3
    """All features, the latest thousand or two above all."""
    SHORT = 4
    """All features, the latest few hundred above all: the first to know of a change."""


MEMORY = {Expert.MIDDLE: 512, Expert.SHORT: 128}
"""Completions after which one counts half."""
HALF_LIFE = 48.0
"""Completions after which an error counts half. Short: what is left of an expert's merits after a change delays it."""
_BELIEF = np.log(np.array([1.0, 0.3, 5.0, 5.0, 5.0]))
"""What is believed of the experts before any of them predicted; whether any of it orders is for the proof to say."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How much each expert counts, after Vovk 1998: exponentially less for squared errors, of late above all."""

    losses: Floats
    """Discounted sums of squared errors, [experts]; errors less their mean, as a level says nothing of an order."""
    weight: float
    """The discounted number of completions behind them."""

    @classmethod
    def start(cls) -> Shares:
        """Nothing is known of any."""
        return cls(np.zeros(len(Expert)), 0.0)

    def after(self, predicted: Floats, target: Floats) -> Shares:
        """Take what experts predicted of completions before they learned from them.

        Args:
            predicted: [n, experts]
            target: logarithms of lengths, [n]; finite.
        """
        size = len(target)
        if not size:
            return self
        errors = target[:, None] - predicted
        # A level that all have wrong, as after a change, would drown what they differ in.
        errors = np.column_stack([clipped(column - np.median(column)) for column in errors.T])
        age = np.arange(size - 1, -1, -1)
        decay = 0.5 ** (age / HALF_LIFE)
        kept = 0.5 ** (size / HALF_LIFE)
        return Shares(kept * self.losses + decay @ np.square(errors), kept * self.weight + float(decay.sum()))

    @property
    def values(self) -> Floats:
        """The shares, [experts], of sum 1."""
        if self.weight <= 0.0:
            return np.asarray(np.eye(len(Expert))[Expert.SCORE])
        # Errors are measured by those of the best, as if its were of normal noise.
        noise = max(float(self.losses.min()) / self.weight, 1e-6)
        logs = _BELIEF - (self.losses - self.losses.min()) / (2.0 * noise)
        found = np.exp(logs - logs.max())
        return np.asarray(found / found.sum())
