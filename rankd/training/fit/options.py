"""What a training run may choose, its progress, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from rankd.training.bases.base import Base, Recipe
from rankd.training.data.lists import Samples
from rankd.training.fit.losses import Loss

Ranks = Literal["median", "expected"]
WITH_SPREAD: tuple[Loss, ...] = ("lognormal", "joint")


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What a run may choose; ``recipe`` is the base's own unless overridden."""

    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    threads: int = 1
    samples: Samples = "mean"
    bucket: float = 1.0
    """Width in tokens within which two lengths count as tied; the paper takes 10."""
    margin: float = 0.0
    """Of the pairwise loss."""
    bf16: bool = False
    """Run the transformer in bfloat16."""
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises."""
    checkpoint_seconds: float = 60.0
    ranks: Ranks = "median"
    """What a ranker that learns a spread orders by: the median length, or the expected one, which is what matters to a
    queue's mean latency where spreads can be believed, as on the traffic that it was trained on."""

    @property
    def loss(self) -> Loss:
        """The recipe's."""
        return self.recipe.loss


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one pass came to."""

    loss: float
    validation_tau: float | None


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where the run is; given out after every step and every validation."""

    step: int
    steps: int
    epoch: int
    loss: float
    """Mean over this epoch so far."""
    validation_tau: float | None
    """Of the last validation."""
    at_epoch_end: bool


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """A trained ranker, with the weights of its best epoch, in eval mode."""

    base: Base
    module: nn.Module
    options: FitOptions
    history: list[EpochResult]
    validation_tau: float
    """Of the best epoch; NaN where there was nothing to judge by."""
    fingerprint: str
    """Of base, rows and options: equal ones make equal weights."""

    @property
    def has_spread(self) -> bool:
        """Whether the module gives (score, spread), or the score alone."""
        return self.options.loss in WITH_SPREAD
