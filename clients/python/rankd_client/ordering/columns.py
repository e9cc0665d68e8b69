"""A queue by column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankd_client.ordering.rules import FloatArray, IntArray


@dataclass(slots=True)
class OrderColumns:
    """A queue, one entry per request in every column. A column that is None says nothing of any request.

    Times are seconds by one clock. What is not a number, or out of range, counts as not known.
    """

    request_ids: Sequence[str]
    arrival: FloatArray
    score: FloatArray
    """The ranker's scores; higher is longer. NaN: none."""
    expected: FloatArray
    """Expected lengths in tokens, at least 0. NaN: not known."""
    p90: FloatArray | None = None
    """90th percentiles of the lengths in tokens. NaN: not known."""
    generated: FloatArray | None = None
    """Tokens produced so far, a lower bound of the length."""
    max_tokens: FloatArray | None = None
    """Most tokens allowed; 0: not known."""
    running: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    deadline: FloatArray | None = None
    """When a request must be done. NaN or infinite: it has no deadline."""
    overtaken: IntArray | None = None
    """How many requests that arrived later were served before."""
    priority_class: IntArray | None = None
    """Lower is more urgent; 0 is what a request has that names none."""
    tenant: Sequence[str] | None = None
    prompt_tokens: FloatArray | None = None
    """Cached ones included: what a request costs the engine, and its tenant. 0: not known."""
    cached_prompt_tokens: FloatArray | None = None
    """Those that the engine need not read."""
    learned: FloatArray | None = None
    """Scores that were learned from traffic; they are compared in place of ``score`` where every request that has a
    score has one. NaN: none."""

    def __len__(self) -> int:
        return len(self.request_ids)


LATEST = 2.0**62
"""Seconds, of either sign; differences of times within it are finite."""


def finite(values: FloatArray) -> FloatArray:
    """Values with 0 for NaN and bounds for infinities; the same array where nothing is to do."""
    return values if np.isfinite(values).all() else np.nan_to_num(values)


def sane(value: float, low: float, high: float, otherwise: float) -> float:
    """A number within bounds; ``otherwise`` where it is none."""
    return otherwise if math.isnan(value) else min(max(value, low), high)


def times_of(values: FloatArray) -> FloatArray:
    """Times within bounds; 0 for NaN."""
    return np.minimum(np.maximum(finite(values), -LATEST), LATEST)


def time_of(value: float) -> float:
    """A time within bounds; NaN stays NaN, which is later than nothing."""
    return sane(value, -LATEST, LATEST, math.nan)
