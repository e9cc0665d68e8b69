"""What every base has in common."""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.fit.losses import Loss

MINILM, NGRAM = "minilm", "ngram"


DEFAULT_TRUNCATION = Truncation(128, 64, 64)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a base is best trained; what the command line leaves open comes from here."""

    loss: Loss = "pairwise"
    epochs: int = 3
    lr: float = 1e-4
    """Peak learning rate of the pretrained part."""
    head_lr: float = 1e-3
    """Peak learning rate of what starts from nothing."""
    list_size: int = 64
    weight_decay: float = 0.01
    dropout: float = 0.0
    """Of the dropout layers that the model has."""
    piece: int = 16
    """Rows that run through the model at once; a list is sorted by token count first, so that little is padded."""
    average: float = 0.0
    """Decay per step of the running mean of weights that is judged and kept; 0 keeps those of the last step."""


class Base(ABC):
    """Where training starts. ``tokenizer`` is served as it is, ``truncation`` is the one that is served."""

    name: str
    tokenizer: Tokenizer
    truncation: Truncation
    licence: str
    fingerprint: str
    """Of weights and tokenizer: a run is resumed from the same ones only."""
    recipe: Recipe

    @abstractmethod
    def module(self, seed: int, *, spread: bool = False) -> nn.Module:
        """Build a fresh model; its new parts depend on ``seed`` alone.

        ``forward(input_ids int64[b, t], attention_mask int64[b, t])`` gives the score, float32[b], higher = longer.
        With ``spread`` it gives a pair: the score, which then is the expected log length less the median of its
        group, and the standard deviation of log length, float32[b].
        """

    def for_prompts(self, prompts: Iterable[str]) -> Base:  # noqa: ARG002 - most bases take prompts as they are
        """This base, or one that also knows words that ``prompts`` have."""
        return self

    def finish(self, module: nn.Module) -> None:  # noqa: B027 - most bases train what they export
        """Bring a trained module into the form that is exported."""

    def groups(self, module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Parameters that learn, in optimiser groups of their own rate; others stay as they are."""
        return [{"params": [p for p in module.parameters() if p.requires_grad], "lr": recipe.head_lr}]

    def tokeniser(self) -> Tokeniser:
        """The daemon's own tokeniser over this tokenizer: what is learned on is what is served."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "tokenizer.json"
            self.tokenizer.save(str(path))
            return Tokeniser(path, self.truncation)


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
