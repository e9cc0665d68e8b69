"""How many tokens a model really takes, by running one: a small one of the same configuration, with random weights.

Configurations do not tell it. RoBERTa and all that follow it count positions from behind the padding's index, so that
514 are 512; DeBERTa's and ALiBi's are relative and have no end; others need lengths of some multiple.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rankd.errors import ConfigError
from rankd.training.bases.base import _line

_SHORT = (7, 2)
"""Tokens of other prompts that must work too, as batches have any length."""
_FEWEST_WORDS = 64
_BY_LAYER = ("layer_types", "attention_window", "attention_layers", "mlp_layer_types")
"""What configurations have an entry of for each layer."""


@dataclass(frozen=True, slots=True)
class SmallModel:
    """A model with one layer and few words, else of a base's configuration."""

    body: nn.Module
    words: int

    def failure(self, tokens: int) -> Exception | None:
        """What goes wrong with two prompts of up to so many tokens; None where nothing does."""
        ids = torch.full((2, tokens), self.words - 1, dtype=torch.int64)
        mask = torch.ones_like(ids)
        mask[1, (tokens + 1) // 2 :] = 0
        try:
            with torch.inference_mode():
                states = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        except Exception as error:  # noqa: BLE001 - models raise anything for what they cannot read
            return error
        if tuple(states.shape[:2]) != (2, tokens):
            return ValueError(f"{tokens} tokens give {states.shape[1]} states")
        return None

    def most_tokens(self, asked: int) -> int:
        """The longest prompt that works, below ``asked``, which does not; 0 where none does."""
        works, fails = 0, asked
        while fails - works > 1:
            middle = (works + fails) // 2
            works, fails = (middle, fails) if self.failure(middle) is None else (works, middle)
        return works


def small_model(config: Any) -> SmallModel | None:
    """One of a configuration, made the same each time; None where it cannot be made small."""
    from transformers import AutoModel

    small = copy.deepcopy(config)
    ids = [v for k, v in config.to_dict().items() if k.endswith(("token_id", "_index", "bos", "eos")) and _is_id(v)]
    words = min(config.vocab_size, max(_FEWEST_WORDS, *(i + 2 for i in ids), 2))
    _shorten(small)
    try:
        small.vocab_size = words
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            body = AutoModel.from_config(  # type: ignore[no-untyped-call]
                small, dtype=torch.float32, attn_implementation="eager"
            ).eval()
    except Exception:  # noqa: BLE001 - what cannot be made small is tried whole, later
        return None
    if getattr(body, "pooler", None) is not None:
        body.pooler = None
    return SmallModel(body, words)


def _shorten(config: Any) -> None:
    """One layer, where a configuration lets itself be told: some have blocks, or lists of what each layer is."""
    with suppress(Exception):
        config.num_hidden_layers = 1
    for name in _BY_LAYER:
        if isinstance(getattr(config, name, None), list):
            with suppress(Exception):
                setattr(config, name, getattr(config, name)[:1])


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_positions(name: str, config: Any, asked: int) -> None:
    """Make sure that a model takes ``asked`` tokens, and fewer.

    Raises:
        ConfigError: with how many it takes, and what to do.
    """
    stated = None if _has_no_end(config) else _stated_positions(config)
    model = small_model(config)
    if stated is not None and asked > stated:
        taken = stated if model is None or model.failure(stated) is None else model.most_tokens(stated)
        raise ConfigError(_too_many(name, config, asked, taken or stated, stated))
    if model is None:
        return
    if (error := model.failure(asked)) is not None:
        taken = model.most_tokens(asked)
        # Few tokens that work, and many that do not, are a table of positions; else no number of tokens is a remedy.
        if taken > max(_SHORT) and not any(map(model.failure, _SHORT)):
            raise ConfigError(_too_many(name, config, asked, taken, stated))
        raise ConfigError(_cannot_run(name, config, asked, error))
    for tokens in _SHORT:
        if tokens < asked and (error := model.failure(tokens)) is not None:
            raise ConfigError(_cannot_run(name, config, tokens, error))


def _has_no_end(config: Any) -> bool:
    is_relative = bool(getattr(config, "relative_attention", False)) and not getattr(
        config, "position_biased_input", True
    )
    return is_relative or bool(getattr(config, "alibi", False))


def _stated_positions(config: Any) -> int | None:
    stated = getattr(config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _too_many(name: str, config: Any, asked: int, taken: int, stated: int | None) -> str:
    has = f"{taken} positions" if stated in (None, taken) else f"{stated} positions, of which prompts get {taken}"
    return f"--max-tokens {asked}: --base {name} ({config.model_type}) has {has}; give --max-tokens {taken} or less"


def _cannot_run(name: str, config: Any, tokens: int, error: Exception) -> str:
    return (
        f"--base {name}: {config.model_type} cannot read a prompt of {tokens} tokens ({_line(error)[:120]}); give an "
        "encoder such as BERT, or a decoder such as OPT"
    )
