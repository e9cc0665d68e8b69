"""From scores and lengths to serving keys: int64, lower is served first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns, finite, sane
from rankd_client.ordering.rules import FloatArray, IntArray, Policy, Rules

_MS = 1000.0
_MILLI_TOKENS = 1000.0
_MICRO = 1e6
LARGEST_KEY = float(2**62)
"""Keys are clamped well inside of int64, where float64 still converts without overflow."""
_LARGEST_PATIENCE = 1e12
"""Seconds per token; finite, so that a length of 0 stays due on arrival under any patience."""
_LARGEST_EXPONENT = 64.0
CLASS_SPAN = 2**46
"""Between two strict classes: 2,230 years in ms, so that no key of one class reaches into the next."""
_MOST_CLASSES = 2**15


def lengths_of(queue: OrderColumns, risk: float = 0.0) -> FloatArray:
    """Expected lengths within what is certain of each request, [n]; NaN where there is none.

    Args:
        queue: the queue.
        risk: 0 to 1, the weight of p90 where it is known.
    """
    expected = np.asarray(queue.expected, dtype=np.float64)
    # NaN compares false: what is absent, negative or beyond any key is left out in one go.
    expected = np.where((expected >= 0) & (expected < LARGEST_KEY), expected, np.nan)
    if queue.p90 is not None and (share := sane(risk, 0.0, 1.0, 0.0)):
        tail = np.asarray(queue.p90, dtype=np.float64)
        known = (tail >= 0) & (tail < LARGEST_KEY)
        expected = np.where(known, (1 - share) * expected + share * np.where(known, tail, 0.0), expected)
    return bounded(expected, queue)


def bounded(lengths: FloatArray, queue: OrderColumns) -> FloatArray:
    """Lengths within what is certain; NaN stays NaN.

    A length that a request has outlived rises with what it produced: rank falls again, as it should for lengths that
    are more than predicted (arXiv 2503.07545), and never is it what is left, which would favour who was misjudged.
    """
    if queue.max_tokens is not None:
        lengths = np.where(queue.max_tokens > 0, np.minimum(lengths, queue.max_tokens), lengths)
    if queue.generated is None:
        return lengths
    # What was produced already is certain; it wins over a cap that it contradicts.
    return np.maximum(lengths, np.minimum(finite(queue.generated), LARGEST_KEY))


def filled(lengths: FloatArray, queue: OrderColumns, prior: float | None) -> FloatArray:
    """Lengths with the prior, or the median of the known ones, for those not known; some must be known."""
    known = ~np.isnan(lengths)
    if known.all():
        return lengths
    typical = prior_of(prior, lengths[known])
    return np.where(known, lengths, bounded(np.full(len(lengths), typical), queue))


def prior_of(prior: float | None, lengths: FloatArray) -> float:
    """The length of a request of which nothing is known."""
    return float(np.median(lengths)) if prior is None or not 0 <= prior < LARGEST_KEY else prior


def policy_in_force(rules: Rules, queue: OrderColumns, lengths: FloatArray, *, comparable: bool) -> Policy:
    """The policy that can be followed with what is known; FCFS where nothing is."""
    if rules.policy is Policy.FCFS or not np.isnan(lengths).all():
        return rules.policy
    usable = rules.policy is Policy.SCORE and comparable and bool(np.isfinite(queue.score).any())
    return Policy.SCORE if usable else Policy.FCFS


def keys_of(
    policy: Policy,
    queue: OrderColumns,
    lengths: FloatArray,
    arrival: FloatArray,
    rules: Rules,
    now: float,
    *,
    comparable: bool,
) -> IntArray:
    """Serving keys under a policy in force, [n].

    Args:
        policy: what ``policy_in_force`` says.
        queue: the queue.
        lengths: what ``lengths_of`` says.
        arrival: finite.
        rules: the rules.
        now: seconds; matters to AGED only.
        comparable: whether scores come from one ranker.
    """
    head_start = _head_start(queue, rules)
    if head_start is not None:
        arrival = arrival + head_start
    if policy in (Policy.DUE, Policy.BOOST):
        key = to_key(_due(policy, queue, lengths, arrival, rules), _MS)
    elif policy is Policy.SCORE:
        key = _score_key(queue, lengths, rules.prior_expected, comparable=comparable)
    elif policy is Policy.AGED:
        ratio = np.maximum(sane(now, -LARGEST_KEY, LARGEST_KEY, 0.0) - arrival, 0.0)
        ratio = ratio / aged_size(filled(lengths, queue, rules.prior_expected), rules.age_exponent)
        key = to_key(-ratio, _MICRO)
    else:
        key = to_key(arrival, _MS)
    return key if head_start is not None else _with_class(key, strict_classes(queue, rules, policy))


def aged_size(lengths: FloatArray, exponent: float) -> FloatArray:
    """What AGED divides a waiting time by: ``max(E, 1) ** gamma``."""
    size: FloatArray = np.maximum(lengths, 1.0) ** sane(exponent, 0.0, _LARGEST_EXPONENT, 0.0)
    return np.minimum(size, LARGEST_KEY)


def strict_classes(queue: OrderColumns, rules: Rules, policy: Policy) -> IntArray | None:
    """Classes of which a lower one always goes first; None where there is but one. Under SCORE all are strict."""
    if queue.priority_class is None or (rules.class_step is not None and policy is not Policy.SCORE):
        return None
    classes = np.clip(queue.priority_class, -_MOST_CLASSES, _MOST_CLASSES)
    return classes if classes.any() else None


def _head_start(queue: OrderColumns, rules: Rules) -> FloatArray | None:
    if queue.priority_class is None or rules.class_step is None:
        return None
    step = sane(rules.class_step, 0.0, LARGEST_KEY, 0.0)
    return np.asarray(queue.priority_class, dtype=np.float64) * step


def _with_class(key: IntArray, classes: IntArray | None) -> IntArray:
    if classes is None:
        return key
    half = CLASS_SPAN // 2 - 1
    return np.clip(key, -half, half) + classes * CLASS_SPAN


def _due(policy: Policy, queue: OrderColumns, lengths: FloatArray, arrival: FloatArray, rules: Rules) -> FloatArray:
    """When requests are due, seconds, [n].

    BOOST is what the boost of Yu and Scully, ``ln(1 / (1 - exp(-gamma * S))) / gamma`` ("Strongly Tail-Optimal
    Scheduling in the Light-Tailed M/G/1", 2024), becomes for sizes S that are small beside the waits:
    ``-ln(S) / gamma`` and a constant. Only ratios of lengths matter, and an average request is due when it arrives.
    """
    average = prior_of(rules.prior_expected, lengths[~np.isnan(lengths)])
    lengths = filled(lengths, queue, rules.prior_expected)
    if policy is Policy.DUE:
        due = arrival + patience_of(rules.patience) * lengths
    else:
        average = max(average, 1.0)
        due = arrival + patience_of(rules.patience) * average * np.log(np.maximum(lengths, 1.0) / average)
    if queue.deadline is None:
        return due
    start_by = queue.deadline - running_time(lengths, rules)
    return np.where(np.isfinite(queue.deadline), np.minimum(due, start_by), due)


def running_time(lengths: FloatArray, rules: Rules) -> FloatArray:
    """Seconds that requests take to run, [n]."""
    return sane(rules.pace, 0.0, _LARGEST_PATIENCE, 0.0) * lengths


def _score_key(queue: OrderColumns, lengths: FloatArray, prior: float | None, *, comparable: bool) -> IntArray:
    """Keys of the SCORE policy: expected lengths where every scored request has one, else plain scores."""
    scored = np.isfinite(queue.score)
    known = ~np.isnan(lengths)
    if known.any() and (not comparable or not (scored & ~known).any()):
        return to_key(np.where(known, lengths, prior_of(prior, lengths[known])), _MILLI_TOKENS)
    score = np.minimum(np.maximum(queue.score, -LARGEST_KEY), LARGEST_KEY)
    return to_key(np.where(scored, score, np.median(score[scored])), _MICRO)


def patience_of(patience: float) -> float:
    """A patience that any number makes."""
    return min(patience, _LARGEST_PATIENCE) if patience > 0 else 0.0


def to_key(values: FloatArray, scale: float) -> NDArray[np.int64]:
    """Integers of a scale, clamped."""
    # minimum and maximum rather than clip, which takes longer than the rest for short queues; before scaling, so that
    # nothing overflows.
    largest = LARGEST_KEY / scale
    return np.floor(np.minimum(np.maximum(finite(values), -largest), largest) * scale).astype(np.int64)
