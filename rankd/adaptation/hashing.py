"""Words of a prompt and the shape of a request as buckets, by a keyed hash that ONNX operators can compute too."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.adaptation.features import BUCKETS, MOST_WORDS, pack, pack_texts

_PLACES = 4
"""Tokens at the start that also count by where they stand."""
_ROW = 2**14
"""More than there are buckets: a bucket and its prompt are one number."""


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
        """What to keep of prompts; a batch takes little longer than one.

        Args:
            ids: token ids below 2^20, special ones included, a row per prompt.
            pooled: float32[prompts, d], the ranker's pooled features; None where it gives none. A row with NaN or
                infinity in it counts as zeros.
        """
        if not len(ids):
            return []
        dense, scales = _quantised(np.zeros((len(ids), 0), np.float32) if pooled is None else pooled)
        return pack_texts(self._words(ids), dense, scales)

    def words(self, ids: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Buckets of one prompt's words, pairs of words and first words, each once."""
        return self._words([ids])[0]

    def _words(self, ids: Sequence[NDArray[np.int64]]) -> list[NDArray[np.uint16]]:
        """The same of each prompt, all in one go: rising, or in the order in which they are kept if too many."""
        single, first, second, add, place, step, shift, sift = self.multipliers
        lengths = np.array([max(len(row) - 2, 0) for row in ids])
        row = np.repeat(np.arange(len(ids)), lengths)
        inner = np.concatenate([r[1:-1] for r in ids]).astype(np.int64, copy=False)
        at = np.arange(len(inner)) - (np.cumsum(lengths) - lengths)[row]
        found = [
            row * _ROW + inner * single % BUCKETS,
            (row[1:] * _ROW + (inner[:-1] * first + inner[1:] * second + add) % BUCKETS)[row[1:] == row[:-1]],
            (row * _ROW + (inner * place + at * step + shift) % BUCKETS)[at < _PLACES],
        ]
        whole = np.sort(np.concatenate(found))
        whole = whole[np.diff(whole, prepend=-1) > 0]
        ends = np.searchsorted(whole, np.arange(1, len(ids) + 1) * _ROW).tolist()
        buckets, out, start = (whole % _ROW).astype(np.uint16), [], 0
        for end in ends:
            part = buckets[start:end]
            if end - start > MOST_WORDS:
                part = part[np.argsort(part.astype(np.int64) * sift % 65537, kind="stable")[:MOST_WORDS]]
            out.append(part)
            start = end
        return out

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


def _quantised(pooled: NDArray[np.float32]) -> tuple[NDArray[np.int8], list[float]]:
    """Rows in steps of a 127th of their largest number: int8[prompts, d], and what a step is worth."""
    if not pooled.shape[1]:
        return pooled.astype(np.int8), [0.0] * len(pooled)
    steps = (np.abs(pooled).max(axis=1).astype(np.float64) / 127.0).astype(np.float32)
    usable = np.isfinite(steps) & (steps >= np.finfo(np.float32).tiny)
    steps = np.where(usable, steps, np.float32(np.inf))
    with np.errstate(invalid="ignore"):
        dense = np.rint(pooled / steps[:, None])
    dense[~usable] = 0
    return dense.astype(np.int8), np.where(usable, steps, 0).tolist()
