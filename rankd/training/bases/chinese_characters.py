"""Chinese characters for an encoder whose vocabulary is English: learned from the rows, at no cost in size or speed.

BERT's English vocabularies know a few hundred of these characters and make one [UNK] of all others, so that a Chinese
prompt is a row of [UNK]s. They also hold about a thousand entries that nothing uses, [unused0] and on. Characters that
many training prompts have take these places. They start from their English gloss (or at random), as do those few
hundred, which an English model has hardly met; what they mean is learned with the rest of the ranker.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from rankd.training.bases.chinese_glosses import gloss_vectors

FEWEST_PROMPTS = 4
"""Prompts that have a character before anything can be learned of it."""
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True, slots=True)
class LearnableCharacters:
    """A tokenizer that knows more characters, and what is to be learned of them."""

    tokenizer: Tokenizer
    new: dict[str, int]
    """Characters that it did not know before, and their ids."""
    known: dict[str, int]
    """Those that it knew."""

    def learned(self, *, glosses: bool) -> dict[str, int]:
        """Characters whose vectors are learned; without glosses those that it knew stay as they are."""
        return {**self.known, **self.new} if glosses else self.new


def learnable(tokenizer: Tokenizer, prompts: Iterable[str]) -> LearnableCharacters | None:
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
    known = {word: i for word, i in vocabulary.items() if _IDEOGRAPH.fullmatch(word)}
    for character, (place, word) in taken:
        del vocabulary[word]
        vocabulary[character] = place
    whole = Tokenizer.from_str(json.dumps(fields, ensure_ascii=False))
    return LearnableCharacters(whole, {character: place for character, (place, _) in taken}, known)


class WordVectors(nn.Module):
    """A frozen table of word vectors, some rows of which are learned, as what is added to them."""

    places: Tensor

    def __init__(self, table: nn.Module, learns: LearnableCharacters, seed: int, *, glosses: bool = True) -> None:
        """Start the rows of characters at their glosses; a new one without is put somewhere near, by ``seed``."""
        super().__init__()
        assert isinstance(table, nn.Embedding)
        self.table = table
        rows = table.weight.detach()
        learned = learns.learned(glosses=glosses)
        places = torch.zeros(len(rows), dtype=torch.int64)
        places[list(learned.values())] = torch.arange(1, len(learned) + 1)
        self.register_buffer("places", places, persistent=False)
        starts = gloss_vectors(learned, learns.tokenizer, rows.numpy()) if glosses else {}
        alike = rows[list(learns.known.values())] if len(learns.known) > 1 else rows
        mean, spread = alike.mean(dim=0), alike.std(dim=0)
        near = torch.randn(len(learns.new), rows.shape[1], generator=torch.Generator().manual_seed(seed)) * spread / 2
        rows[list(learns.new.values())] = mean + near
        for character, vector in starts.items():
            rows[learned[character]] = torch.from_numpy(vector)
        self.added = nn.Parameter(torch.zeros(len(learned) + 1, rows.shape[1]))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of tokens, [b, t, dimensions]."""
        vectors: Tensor = self.table(ids)
        return vectors + functional.embedding(self.places[ids], self.added, padding_idx=0)

    def folded(self) -> nn.Embedding:
        """The table with what was learned in it."""
        with torch.no_grad():
            self.table.weight += functional.embedding(self.places, self.added, padding_idx=0)
        return self.table
