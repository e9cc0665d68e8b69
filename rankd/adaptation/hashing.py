"""Words of a prompt and the shape of a request as buckets, by a keyed hash that ONNX operators can compute too."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.adaptation.features import BUCKETS, MOST_WORDS, pack, pack_text

_PLACES = 4
"""Tokens at the start that also count by where they stand."""


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

    def text(self, ids: Sequence[NDArray[np.int64]], pooled: NDArray[np.float32] | None = None) -> list[bytes]:
        """What to keep of prompts.

        Args:
            ids: token ids, special ones included, a row per prompt.
            pooled: float32[prompts, d], the ranker's pooled features; None where it gives none.
        """
        quantised = [(np.zeros(0, np.int8), 0.0)] * len(ids) if pooled is None else [_quantised(row) for row in pooled]
        return [pack_text(self.words(row), *q) for row, q in zip(ids, quantised, strict=True)]

    def words(self, ids: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Buckets of one prompt's words, pairs of words and first words, each once."""
        single, first, second, add, place, step, shift, sift = self.multipliers
        inner = ids[1:-1].astype(np.int64)
        start = inner[:_PLACES]
        found = np.concatenate(
            [
                (inner * single) % BUCKETS,
                (inner[:-1] * first + inner[1:] * second + add) % BUCKETS,
                (start * place + np.arange(len(start)) * step + shift) % BUCKETS,
            ]
        )
        found = np.unique(found)
        if len(found) > MOST_WORDS:
            found = found[np.argsort(found * sift % 65537, kind="stable")[:MOST_WORDS]]
        return found.astype(np.uint16)

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
        shape = shape or NO_SHAPE
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
        return pack(text, numbers, tuple(self.bucket(kind, name) for kind, name in named if name))

    def bucket(self, kind: str, name: str) -> int:
        """The bucket of a name."""
        digest = hashlib.blake2b(
            f"{kind}\0{name}".encode("utf-8", "surrogatepass"), key=self._key, digest_size=8
        ).digest()
        return int.from_bytes(digest) % BUCKETS


def _octave(number: float) -> str:
    return str(int(number).bit_length()) if number else ""


def _quantised(row: NDArray[np.float32]) -> tuple[NDArray[np.int8], float]:
    scale = float(np.abs(row).max()) / 127.0
    if not scale > 0:
        return np.zeros(len(row), np.int8), 0.0
    return np.rint(row / scale).astype(np.int8), scale
