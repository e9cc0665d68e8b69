"""Chinese characters for an encoder whose vocabulary is English: learned from the rows, at no cost in size or speed.

BERT's English vocabularies know a few hundred of these characters and make one [UNK] of all others, so that a Chinese
prompt is a row of [UNK]s. They also hold about a thousand entries that nothing uses, [unused0] and on. Characters that
many training prompts have take these places; what they mean is learned with the rest of the ranker.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

FEWEST_PROMPTS = 4
"""Prompts that have a character before anything can be learned of it."""
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True, slots=True)
class Learnable:
    """A tokenizer that knows more characters, and which of its ids are new."""

    tokenizer: Tokenizer
    ids: tuple[int, ...]
    known: tuple[int, ...]
    """Ids of the ideographs that it knew before."""


def learnable(tokenizer: Tokenizer, prompts: Iterable[str]) -> Learnable | None:
    """Give unused places of the vocabulary to characters of ``prompts``, the most frequent first.

    Returns:
        None where there is nothing to gain: no such characters, no places, or a tokenizer of another kind.
    """
    fields = json.loads(tokenizer.to_str())
    normalizer = fields.get("normalizer") or {}
    if fields["model"].get("type") != "WordPiece" or not normalizer.get("handle_chinese_chars"):
        return None
    vocabulary: dict[str, int] = fields["model"]["vocab"]
    counts: Counter[str] = Counter()
    for prompt in prompts:
        counts.update(set(_IDEOGRAPH.findall(prompt)))
    wanted = sorted(
        (c for c, n in counts.items() if n >= FEWEST_PROMPTS and c not in vocabulary), key=lambda c: (-counts[c], c)
    )
    added = {t["content"] for t in fields.get("added_tokens") or []}
    unused = sorted((i, word) for word, i in vocabulary.items() if _UNUSED.fullmatch(word) and word not in added)
    taken = list(zip(wanted, unused, strict=False))
    if not taken:
        return None
    known = tuple(i for word, i in vocabulary.items() if _IDEOGRAPH.fullmatch(word))
    for character, (place, word) in taken:
        del vocabulary[word]
        vocabulary[character] = place
    return Learnable(
        Tokenizer.from_str(json.dumps(fields, ensure_ascii=False)), tuple(place for _, (place, _) in taken), known
    )


class WordVectors(nn.Module):
    """A frozen table of word vectors, some rows of which are learned, as what is added to them."""

    places: Tensor

    def __init__(self, table: nn.Module, new: Sequence[int], known: Sequence[int], seed: int) -> None:
        """Start the rows ``new`` near the mean of the rows ``known``, each a little apart, by ``seed``."""
        super().__init__()
        assert isinstance(table, nn.Embedding)
        self.table = table
        rows = table.weight.detach()
        places = torch.zeros(len(rows), dtype=torch.int64)
        places[list(new)] = torch.arange(1, len(new) + 1)
        self.register_buffer("places", places, persistent=False)
        alike = rows[list(known)] if len(known) > 1 else rows
        start = torch.randn(len(new), rows.shape[1], generator=torch.Generator().manual_seed(seed)) * alike.std(dim=0)
        rows[list(new)] = alike.mean(dim=0) + start / 2
        self.added = nn.Parameter(torch.zeros(len(new) + 1, rows.shape[1]))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of tokens, [b, t, dimensions]."""
        vectors: Tensor = self.table(ids)
        return vectors + functional.embedding(self.places[ids], self.added, padding_idx=0)

    def folded(self) -> nn.Embedding:
        """The table with what was learned in it."""
        with torch.no_grad():
            self.table.weight += functional.embedding(self.places, self.added, padding_idx=0)
        return self.table
