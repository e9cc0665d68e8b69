"""The n-gram tier's model: n-grams hashed into a bag, windows of 3 and 5 tokens over word vectors, and a small head.

Everything is said here twice, once for PyTorch and once (``ngram_graph``) for onnxruntime; tests hold them together.
Hashes are int64: ids are below 2^20 and multipliers below 2^31, so that nothing overflows anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rankd.training.bases.ngram_words import WordTable
from rankd.training.fit.losses import log_expected, spread_of

HEAD_TOKENS = 7
"""Tokens at the start, the first special one included, that also count by where they stand."""
FIRST, SECOND, PLACE, SHIFT = 1_000_003, 8_264_719, 7_919, 12_345
"""Multipliers of a pair's tokens, of a token's place, and what is added: hash = (a FIRST + b SECOND + SHIFT) mod
buckets, with a prime number of buckets."""
TYPICAL_LOG_LENGTH = 3.0
MOST = 6.0
"""Features of windows and spans are clamped to 0 to this, so that they can be stored in 8 bits."""
HEAD_SHARE = 0.3
"""What the weights of tokens at the start are scaled by: they learn less quickly than those of the bag."""


@dataclass(frozen=True, slots=True)
class NgramSizes:
    """Of the model. Buckets are prime."""

    dimensions: int = 128
    """Of a word vector."""
    windows: int = 128
    """Features of three tokens in a row."""
    spans: int = 128
    """Features of three windows in a row: of five tokens."""
    hidden: int = 64
    pair_buckets: int = 131_071
    head_buckets: int = 16_381


def hash_pairs(first: Tensor, second: Tensor, buckets: int) -> Tensor:
    """The bucket of each pair of tokens, int64 like ``first`` and ``second``."""
    return (first * FIRST + second * SECOND + SHIFT) % buckets


def hash_places(ids: Tensor, buckets: int) -> Tensor:
    """The bucket of each token at its place, int64[b, t]."""
    places = torch.arange(ids.shape[1], device=ids.device) * PLACE
    return (ids * FIRST + places) % buckets


def with_neighbours(values: Tensor) -> Tensor:
    """Each position's values between those before and after it; zeros beyond the ends: [b, t, n] to [b, t, 3 n]."""
    wide = functional.pad(values, (0, 0, 1, 1))
    return torch.cat([wide[:, :-2], values, wide[:, 2:]], dim=2)


class NgramRanker(nn.Module):
    """Scores prompts by what their n-grams weigh, and by what a small head makes of their words."""

    words: Tensor

    def __init__(self, words: WordTable, sizes: NgramSizes, seed: int, *, spread: bool) -> None:
        """Start from word vectors, which stay as they are, and weights that depend on ``seed`` alone."""
        super().__init__()
        self.has_spread, self.sizes, self.source = spread, sizes, words
        self.by_expected = False
        """See ``TransformerRanker.by_expected``."""
        vectors = torch.from_numpy(words.table).float() * torch.from_numpy(words.scale)
        self.register_buffer("words", vectors, persistent=False)
        self.drop = nn.Dropout(0.0)
        features = sizes.windows + sizes.spans + sizes.dimensions + 2
        outputs = 2 if spread else 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.window = nn.Linear(3 * sizes.dimensions, sizes.windows)
            bound = 1 / math.sqrt(sizes.dimensions)  # larger than PyTorch's own, since word vectors are small
            nn.init.uniform_(self.window.weight, -bound, bound)
            nn.init.zeros_(self.window.bias)
            self.span = nn.Linear(3 * sizes.windows, sizes.spans)
            self.hidden = nn.Linear(features, sizes.hidden)
            self.top = nn.Linear(sizes.hidden, outputs)
            self.straight = nn.Linear(features, outputs, bias=False)
            nn.init.zeros_(self.straight.weight)
        self.singles, self.pairs, self.heads = (
            nn.Parameter(torch.zeros(n, 1)) for n in (len(vectors), sizes.pair_buckets, sizes.head_buckets)
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Score prompts; see ``rankd.training.bases.Base.module``."""
        ids = input_ids.masked_fill(attention_mask == 0, 0)
        mask = attention_mask.to(torch.float32)
        length = mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        vectors = functional.embedding(ids, self.words)
        windows = self.window(with_neighbours(vectors)).clamp(0.0, MOST) * mask.unsqueeze(2)
        spans = self.span(with_neighbours(windows)).clamp(0.0, MOST) * mask.unsqueeze(2)
        grade = length.log() - TYPICAL_LOG_LENGTH
        parts = [windows.amax(dim=1), spans.amax(dim=1), vectors.sum(dim=1) / length, grade, grade * grade]
        features = self.drop(torch.cat(parts, dim=1))
        hidden = self.drop(functional.relu(self.hidden(features)))
        out = self.top(hidden) + self.straight(features)
        score: Tensor = out[:, 0] + self._bag(ids, mask, length)
        if not self.has_spread:
            return score
        spread = spread_of(out[:, 1])
        if self.by_expected and not self.training:
            score = log_expected(score, spread)
        return score, spread

    def _bag(self, ids: Tensor, mask: Tensor, length: Tensor) -> Tensor:
        """What single tokens, pairs, and tokens at the start add to the score, [b]."""
        before = functional.pad(ids, (1, 0))[:, :-1]
        pairs = hash_pairs(before, ids, self.sizes.pair_buckets)
        weights = functional.embedding(ids, self.singles) + functional.embedding(pairs, self.pairs)
        everywhere = (weights.squeeze(2) * mask).sum(dim=1) / length.sqrt().squeeze(1)
        heads = hash_places(ids[:, :HEAD_TOKENS], self.sizes.head_buckets)
        at_start = functional.embedding(heads, self.heads).squeeze(2) * mask[:, :HEAD_TOKENS]
        return everywhere + at_start.sum(dim=1) * HEAD_SHARE
