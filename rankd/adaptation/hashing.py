"""Words of a prompt and the shape of a request as buckets, by a keyed hash that ONNX operators can compute too."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.adaptation.features import BUCKETS, MOST_WORDS, pack, pack_texts

PLACES = 4
"""Tokens at the start that also count by where they stand."""
SIFT = 65537
"""A prime by which the order is drawn in which buckets are left out where they are too many."""
_NONE = 2**16 - 1
"""No bucket; sorted behind them all."""
_LEAST_STEP = float(np.finfo(np.float32).tiny)
_MOST_STEP = 1e6
"""Features with larger ones are refused whole where they are read (``unpack``): words would be lost with them."""
_MOST_HEADS = 1024
"""Starts of features that are kept."""


class FeatureHasher:
    """Turns token ids, pooled features and shapes into bytes that a prediction carries."""

    def __init__(self, key: bytes, ranker_version: str) -> None:
        """Take a key of up to 64 bytes; empty: whoever knows this code can compute the hashes."""
        self._key = hashlib.blake2b(ranker_version.encode("utf-8", "surrogatepass"), key=key, digest_size=32).digest()
        self.key_id = hashlib.blake2b(self._key, digest_size=8).digest()
        """Says which key it is, and nothing about it."""
        draws = np.frombuffer(hashlib.blake2b(b"words", key=self._key, digest_size=32).digest(), np.uint32)
        # Below 2^31, and token ids below 2^20: no product or sum overflows 64 bits.
        self.multipliers = [int(m) % (2**31 - 3) | 1 for m in draws]
        """Of a word; of the first and second word of a pair, and what is added; of a word and its place, and what is
        added; of the order in which buckets are left out where they are too many."""
        self._heads: dict[tuple[float, float, str], bytes] = {}
        """Of requests without a shape, by prompt tokens, most tokens and tenant."""
        self._places = np.arange(PLACES) * self.multipliers[5] + self.multipliers[6]

    def text(self, ids: Sequence[NDArray[np.int64]], pooled: NDArray[np.float32] | None = None) -> list[bytes]:
        """What to keep of prompts; a batch takes little longer than one.

        Args:
            ids: token ids below 2^20, special ones included, a row per prompt.
            pooled: float32[prompts, d], the ranker's pooled features; None where it gives none. A row with NaN or
                infinity in it counts as zeros.
        """
        if not len(ids):
            return []
        words, ends = self._words(ids)
        dense, scales = _quantised(np.zeros((len(ids), 0), np.float32) if pooled is None else pooled)
        return pack_texts(words, ends, dense, scales)

    def words(self, ids: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Buckets of one prompt's words, pairs of words and first words, each once."""
        return self._words([ids])[0]

    def _words(self, ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.uint16], list[int]]:
        """The same of each prompt, one behind the other, and where each ends.

        Batches are small where prompts are read on a CPU: what counts is how many operations there are.
        """
        single, first, second, add, *_ = self.multipliers
        inner, lengths = _rectangle(ids)
        width = inner.shape[1]
        found = np.empty((len(ids), 2 * width + PLACES), np.int64)
        np.multiply(inner, single, out=found[:, :width])
        pairs = found[:, width : 2 * width - 1]  # the last word has none: what stands there is never kept
        np.multiply(inner[:, :-1], first, out=pairs)
        pairs += inner[:, 1:] * second + add
        found[:, 2 * width :] = inner[:, :PLACES] * self.multipliers[4] + self._places
        buckets = (found % BUCKETS).astype(np.uint16)
        columns = np.arange(width + 1)
        buckets[np.concatenate((columns[:-1], columns[1:], columns[:PLACES])) >= lengths[:, None]] = _NONE
        buckets.sort(axis=1)
        kept = buckets < _NONE
        kept[:, 1:] &= buckets[:, 1:] != buckets[:, :-1]
        counts = kept.sum(axis=1)
        if counts.max() > MOST_WORDS:
            self._sift(buckets, kept, counts)
        return buckets[kept], np.minimum(counts, MOST_WORDS).cumsum().tolist()

    def _sift(self, buckets: NDArray[np.uint16], kept: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
        """Leave out what is too much, in place: those that are kept come first, in the order in which they are."""
        over = counts > MOST_WORDS
        # One number to sort by, below 2^31: the place in the order, and the bucket itself.
        order = (buckets[over].astype(np.int64) * self.multipliers[7] % SIFT << 14).astype(np.int32) + buckets[over]
        order[~kept[over]] = np.iinfo(np.int32).max
        order.sort(axis=1)
        buckets[over, :MOST_WORDS] = order[:, :MOST_WORDS] & (2**14 - 1)
        kept[over, :MOST_WORDS], kept[over, MOST_WORDS:] = True, False

    def pack(
        self,
        text: bytes,
        shape: RequestShape | None = None,
        *,
        prompt_tokens: float = 0,
        max_tokens: float = 0,
        tenant: str = "",
    ) -> bytes:
        """What a request's prediction carries: its text's part, and its shape."""
        if shape is None:
            known = prompt_tokens, max_tokens, tenant
            head = self._heads.get(known)
            if head is None:
                if len(self._heads) >= _MOST_HEADS:
                    self._heads.clear()
                head = self._heads[known] = self._head(NO_SHAPE, *known)
        else:
            head = self._head(shape, prompt_tokens, max_tokens, tenant)
        return head + text

    def _head(self, shape: RequestShape, prompt_tokens: float, max_tokens: float, tenant: str) -> bytes:
        """All of it before the text's part."""
        numbers = tuple(math.log1p(n) for n in (prompt_tokens, max_tokens, shape.messages, shape.tools))
        named = [
            ("tenant", tenant),
            ("step", shape.step),
            ("role", shape.last_role),
            ("choice", shape.tool_choice),
            ("format", shape.response_format),
            ("effort", shape.reasoning_effort),
            ("thinking", _octave(shape.thinking_budget)),
            ("choices", _octave(shape.choices)),
            ("stops", _octave(shape.stops)),
            ("tools", _octave(shape.tools)),
            ("messages", _octave(shape.messages)),
            ("max", _octave(max_tokens)),
        ]
        return pack(b"", numbers, tuple(self.bucket(kind, name) for kind, name in named if name))

    def bucket(self, kind: str, name: str) -> int:
        """The bucket of a name."""
        digest = hashlib.blake2b(
            f"{kind}\0{name}".encode("utf-8", "surrogatepass"), key=self._key, digest_size=8
        ).digest()
        return int.from_bytes(digest) % BUCKETS


def _octave(number: float) -> str:
    return str(int(number).bit_length()) if number else ""


def _rectangle(ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of prompts without the special ones at their ends, a row each, zeros behind; and how many each has."""
    lengths = [max(len(row) - 2, 0) for row in ids]
    out = np.zeros((len(ids), max(PLACES, *lengths)), np.int64)
    for i, (row, length) in enumerate(zip(ids, lengths, strict=True)):
        out[i, :length] = row[1:-1]
    return out, np.array(lengths)


def _quantised(pooled: NDArray[np.float32]) -> tuple[NDArray[np.int8], list[float]]:
    """Rows in steps of a 127th of their largest number: int8[prompts, d], and what a step is worth."""
    if not pooled.shape[1]:
        return pooled.astype(np.int8), [0.0] * len(pooled)
    steps = (np.abs(pooled).max(axis=1).astype(np.float64) / 127.0).astype(np.float32)
    scales: list[float] = steps.tolist()
    if all(_LEAST_STEP <= scale <= _MOST_STEP for scale in scales):
        return np.rint(pooled / steps[:, None]).astype(np.int8), scales
    usable = np.array([_LEAST_STEP <= scale <= _MOST_STEP for scale in scales])
    clean = np.where(usable[:, None], pooled, 0)
    return np.rint(clean / np.where(usable, steps, 1)[:, None]).astype(np.int8), np.where(usable, steps, 0).tolist()
