"""From scores to a serving order: pure functions on columns, shared by the daemon and by plug-ins inside engines.

No clock and no I/O: times are arguments. Every key is an int64, lower is served first, ties go by arrival and then by
request id, so the same queue gives the same order whatever order its items come in.

Under ``DUE`` a request is due at ``arrival + patience * E``, with ``E`` its expected length. The key is static, and it
bounds overtaking by construction: *i* is only overtaken by requests *j* that arrive within ``patience * (E_i - E_j)``
after it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MS = 1000.0
_MILLI_TOKENS = 1000.0
_MICRO_SCORES = 1e6
_LARGEST_KEY = float(2**62)
"""Keys are clamped well inside of int64, where float64 still converts without overflow."""
_LARGEST_PATIENCE = 1e12
"""Seconds per token; finite, so that a length of 0 stays due on arrival under any patience."""


class Policy(enum.Enum):
    """How a queue is ordered."""

    FCFS = "fcfs"
    """First come, first served."""
    SCORE = "score"
    """Shortest predicted answer first; bounds no waiting."""
    DUE = "due"
    """Earliest ``arrival + patience * E`` first."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """The order of a queue.

    ``order`` holds indices of the input, the first to serve first; ``serving_key`` is by input index. ``policy`` is
    what the order follows: FCFS where nothing could be said about any length.
    """

    order: NDArray[np.intp]
    serving_key: NDArray[np.int64]
    policy: Policy


def order_queue(
    policy: Policy,
    request_ids: Sequence[str],
    arrival: FloatArray,
    *,
    score: FloatArray,
    expected: FloatArray,
    generated: FloatArray | None = None,
    max_tokens: FloatArray | None = None,
    patience: float,
    prior_expected: float | None = None,
    scores_comparable: bool = True,
) -> Ordering:
    """Order a queue. Never raises on numbers: what is not finite counts as absent, what is too large is clamped.

    Args:
        policy: the policy wanted.
        request_ids: one per request, unique.
        arrival: seconds since the epoch, [n].
        score: the ranker's scores, NaN where there is none, [n].
        expected: expected lengths in tokens, NaN where there is none, [n].
        generated: tokens produced so far, a lower bound of the length, [n].
        max_tokens: most tokens allowed, 0 for unknown, [n].
        patience: seconds of waiting per expected token (theta); 0 where it is negative or NaN.
        prior_expected: length in tokens of a request of which nothing is known; default, and where it is negative or
            not finite: the median of the queue.
        scores_comparable: False where scores come from different rankers; then only ``expected`` is compared.

    Returns:
        The order. A request without score or expectation is placed as one of ``prior_expected`` tokens. Where no
        request has any, or ``DUE`` knows no expected length at all, the whole queue is FCFS.
    """
    arrival = _finite(np.asarray(arrival, dtype=np.float64))
    lengths = _lengths(np.asarray(expected, dtype=np.float64), generated, max_tokens)
    known = ~np.isnan(lengths)
    if policy is Policy.DUE and known.any():
        if not known.all():
            prior = _prior(prior_expected, lengths[known])
            lengths = np.where(known, lengths, _bounded(np.full(len(lengths), prior), generated, max_tokens))
        key = _to_key(arrival + _patience(patience) * lengths, _MS)
    elif (
        policy is Policy.SCORE and (scored := _score_key(score, lengths, prior_expected, scores_comparable)) is not None
    ):
        key = scored
    else:
        policy, key = Policy.FCFS, _to_key(arrival, _MS)
    return Ordering(_sorted(key, arrival, request_ids), key, policy)


def _score_key(
    score: FloatArray, lengths: FloatArray, prior: float | None, comparable: bool
) -> NDArray[np.int64] | None:
    """Keys of the SCORE policy: expected lengths where every scored request has one, else plain scores."""
    scored = np.isfinite(score)
    known = ~np.isnan(lengths)
    if known.any() and (not comparable or not (scored & ~known).any()):
        return _to_key(np.where(known, lengths, _prior(prior, lengths[known])), _MILLI_TOKENS)
    if comparable and scored.any():
        score = np.minimum(np.maximum(score, -_LARGEST_KEY), _LARGEST_KEY)
        return _to_key(np.where(scored, score, np.median(score[scored])), _MICRO_SCORES)
    return None


def _lengths(expected: FloatArray, generated: FloatArray | None, max_tokens: FloatArray | None) -> FloatArray:
    """Expected lengths within what is certain of each request; NaN where there is none."""
    # NaN compares false: what is absent, negative or beyond any key is left out in one go.
    return _bounded(np.where((expected >= 0) & (expected < _LARGEST_KEY), expected, np.nan), generated, max_tokens)


def _bounded(lengths: FloatArray, generated: FloatArray | None, max_tokens: FloatArray | None) -> FloatArray:
    if max_tokens is not None:
        lengths = np.where(max_tokens > 0, np.minimum(lengths, max_tokens), lengths)
    # What was produced already is certain; it wins over a cap that it contradicts.
    return lengths if generated is None else np.maximum(lengths, np.minimum(_finite(generated), _LARGEST_KEY))


def _finite(values: FloatArray) -> FloatArray:
    """Values with 0 for NaN and bounds for infinities; the same array where nothing is to do."""
    return values if np.isfinite(values).all() else np.nan_to_num(values)


def _prior(prior: float | None, lengths: FloatArray) -> float:
    return float(np.median(lengths)) if prior is None or not 0 <= prior < _LARGEST_KEY else prior


def _patience(patience: float) -> float:
    return min(patience, _LARGEST_PATIENCE) if patience > 0 else 0.0


def _to_key(values: FloatArray, scale: float) -> NDArray[np.int64]:
    # minimum and maximum rather than clip, which takes longer than the rest for short queues; before scaling, so that
    # nothing overflows.
    largest = _LARGEST_KEY / scale
    return np.floor(np.minimum(np.maximum(_finite(values), -largest), largest) * scale).astype(np.int64)


def _sorted(key: NDArray[np.int64], arrival: FloatArray, request_ids: Sequence[str]) -> NDArray[np.intp]:
    """Indices by (key, arrival, id). Ids are compared only within ties: comparing text is what costs."""
    order = np.lexsort((arrival, key))
    if len(order) < 2:
        return order
    tied = (np.diff(key[order]) == 0) & (np.diff(arrival[order]) == 0)
    if not tied.any():
        return order
    edges = np.diff(np.concatenate(([False], tied, [False])).astype(np.int8))
    # Plain lists from here on: thousands of short runs cost a numpy call each otherwise.
    places = order.tolist()
    for start, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        # Python compares text by code point, which is how its UTF-8 sorts: clients in any language agree.
        places[start : end + 1] = sorted(places[start : end + 1], key=request_ids.__getitem__)
    return np.array(places, dtype=np.intp)
