"""What is learned from of a request, packed into a few hundred bytes that travel with its prediction.

Layout 1, little-endian: a byte 1, the shape, the text. The shape: the number of its buckets in a byte, four numbers in
half precision, the buckets in 16 bits each. The text, which may be missing: the number of word buckets and of
dimensions in 16 bits each, the value of one step of the dense numbers in single precision, the buckets in 16 bits each,
the dense numbers in 8 bits each. Another layout gets another first byte.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 16381
"""Buckets of hashed words and names; a prime."""
MOST_WORDS = 128
MOST_DENSE = 384
MOST_SHAPE = 24
MOST_BYTES = 2048
NUMBERS = 4
"""log(1 + n) of prompt tokens, of max_tokens, of messages and of tools; 0 where that is not known."""

_LAYOUT = 1
_MOST_SCALE = 1.001e6
"""Beyond what any encoder gives: products with it stay far from overflowing."""
_SHAPE = struct.Struct(f"<BB{NUMBERS}e")
_TEXT = struct.Struct("<HHf")


@dataclass(frozen=True, slots=True)
class Features:
    """What is learned from of one request."""

    numbers: tuple[float, ...]
    """[NUMBERS]"""
    shape: NDArray[np.uint16]
    """Buckets of its shape, at most MOST_SHAPE."""
    words: NDArray[np.uint16]
    """Buckets of its words and pairs of words, each once, at most MOST_WORDS."""
    dense: NDArray[np.int8]
    """Pooled features of its text, at most MOST_DENSE; empty where the ranker gives none."""
    scale: float
    """What one step of ``dense`` is worth."""


def pack_text(words: NDArray[np.uint16], dense: NDArray[np.int8], scale: float) -> bytes:
    """The text's part of one prompt, which depends on the prompt and the ranker alone."""
    return pack_texts(words, [len(words)], dense[None], [scale])[0]


def pack_texts(
    words: NDArray[np.uint16], ends: Sequence[int], dense: NDArray[np.int8], scales: Sequence[float]
) -> list[bytes]:
    """The same of several prompts.

    Args:
        words: buckets of all, one prompt's behind the other's.
        ends: where each prompt's end.
        dense: [prompts, d].
        scales: [prompts].
    """
    d, buckets, numbers = dense.shape[1], words.astype("<u2", copy=False).tobytes(), dense.tobytes()
    out, start, at = [], 0, 0
    for end, scale in zip(ends, scales, strict=True):
        out.append(_TEXT.pack(end - start, d, scale) + buckets[2 * start : 2 * end] + numbers[at : at + d])
        start, at = end, at + d
    return out


def pack(text: bytes, numbers: tuple[float, ...] = (0.0,) * NUMBERS, shape: tuple[int, ...] = ()) -> bytes:
    """All of it: what ``pack_texts`` gave, or nothing, and the request's shape."""
    head = _SHAPE.pack(_LAYOUT, len(shape), *numbers)
    return head + struct.pack(f"<{len(shape)}H", *shape) + text


def shape_part(data: bytes) -> bytes:
    """What ``pack`` put before the text's part: nothing of the prompt; empty where it is none of this layout."""
    if not _SHAPE.size <= len(data) <= MOST_BYTES or data[0] != _LAYOUT or data[1] > MOST_SHAPE:
        return b""
    part = data[: _SHAPE.size + 2 * data[1]]
    return part if unpack(part) is not None else b""


def unpack(data: bytes) -> Features | None:
    """Features from what a prediction carried; None where it is none of this layout, or cannot be."""
    if not _SHAPE.size <= len(data) <= MOST_BYTES or data[0] != _LAYOUT:
        return None
    _, shapes, *numbers = _SHAPE.unpack_from(data)
    at = _SHAPE.size + 2 * shapes
    words, dimensions, scale = _TEXT.unpack_from(data, at) if len(data) >= at + _TEXT.size else (0, 0, 0.0)
    start = at + (_TEXT.size if len(data) > at else 0)
    if shapes > MOST_SHAPE or words > MOST_WORDS or dimensions > MOST_DENSE:
        return None
    if len(data) != start + 2 * words + dimensions or not all(map(math.isfinite, numbers)):
        return None
    if not 0.0 <= scale <= _MOST_SCALE:
        return None
    shape = np.frombuffer(data, "<u2", shapes, _SHAPE.size)
    buckets = np.frombuffer(data, "<u2", words, start)
    if (shapes and max(shape.tolist()) >= BUCKETS) or (words and buckets.max() >= BUCKETS):
        return None
    return Features(tuple(numbers), shape, buckets, np.frombuffer(data, np.int8, dimensions, start + 2 * words), scale)
