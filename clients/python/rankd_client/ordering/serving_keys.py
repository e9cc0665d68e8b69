"""From scores, lengths and work to serving keys: int64, lower is served first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns, finite, sane
from rankd_client.ordering.rules import FloatArray, IntArray, Policy, Rules
from rankd_client.ordering.work import prompt_work, running_time, work_of

MS = 1000.0
MILLI_TOKENS = 1000.0
MICRO = 1e6
LARGEST_KEY = float(2**62)
"""Keys are clamped well inside of int64, where float64 still converts without overflow."""
_LARGEST_PATIENCE = 1e12
"""Seconds per token; finite, so that a length of 0 stays due on arrival under any patience."""
_LARGEST_EXPONENT = 64.0
_BY_SCORE = (Policy.SCORE, Policy.LONGEST)
CLASS_SPAN = 2**46
"""Between two strict classes: 2,230 years in ms, so that no key of one class reaches into the next."""
_MOST_CLASSES = 2**15


def lengths_of(queue: OrderColumns, risk: float = 0.0, *, ignored: bool = False) -> FloatArray:
    """Expected lengths within what is certain of each request, [n]; NaN where there is none.

    Args:
        queue: the queue.
        risk: 0 to 1, the weight of p90 where it is known.
        ignored: as if nothing were said of any (``Rules.ignore_lengths``).
    """
    if ignored:
        return np.full(len(queue), np.nan)
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
    """Lengths with the prior, or the median of the known ones, for those not known; 0 where there is neither."""
    known = ~np.isnan(lengths)
    if known.all():
        return lengths
    typical = prior_of(prior, lengths[known])
    return np.where(known, lengths, bounded(np.full(len(lengths), typical), queue))


def prior_of(prior: float | None, lengths: FloatArray) -> float:
    """The length of a request of which nothing is known."""
    if prior is not None and 0 <= prior < LARGEST_KEY:
        return prior
    return float(np.median(lengths)) if len(lengths) else 0.0


def policy_in_force(rules: Rules, queue: OrderColumns, lengths: FloatArray, *, comparable: bool) -> Policy:
    """The policy that can be followed with what is known; FCFS where nothing is."""
    if rules.policy is Policy.FCFS or not np.isnan(lengths).all() or prompt_work(queue, rules) is not None:
        return rules.policy
    plain = rules.policy in _BY_SCORE and not rules.ignore_lengths
    usable = plain and comparable and bool(np.isfinite(queue.score).any()) and compared_scores(queue) is not None
    return rules.policy if usable else Policy.FCFS


def compared_scores(queue: OrderColumns) -> FloatArray | None:
    """Scores that can be compared with each other, [n], of one ranker; NaN or infinite: none.

    Learned scores where all that have a score have one, the ranker's own where none has. None where only some have:
    the two kinds are no numbers of one kind, and only lengths are.
    """
    if queue.learned is None:
        return queue.score
    scored, learned = np.isfinite(queue.score), np.isfinite(queue.learned)
    if not (scored & learned).any():
        return queue.score
    return None if (scored & ~learned).any() else np.where(scored, queue.learned, np.nan)


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
    strict = strict_classes(queue, rules, policy)
    head_start = None if strict is not None else _head_start(queue, rules)
    if head_start is not None:
        arrival = arrival + head_start
    key = _key_of(policy, queue, lengths, arrival, rules, now, comparable=comparable)
    if queue.priority_class is not None and policy is not Policy.FCFS:
        for own in rules.class_policies:
            mine = queue.priority_class == own.priority_class
            if mine.any():
                changed = replace(rules, policy=own.policy, patience=own.patience)
                of_class = policy_in_force(changed, queue, lengths, comparable=comparable)
                others = _key_of(of_class, queue, lengths, arrival, changed, now, comparable=comparable)
                key = np.where(mine, others, key)
    return _with_class(key, strict)


def _key_of(
    policy: Policy,
    queue: OrderColumns,
    lengths: FloatArray,
    arrival: FloatArray,
    rules: Rules,
    now: float,
    *,
    comparable: bool,
) -> IntArray:
    """Keys under one policy, whatever the classes."""
    if policy in (Policy.DUE, Policy.BOOST):
        return to_key(_due(policy, queue, lengths, arrival, rules), MS)
    if policy in _BY_SCORE:
        key = _score_key(queue, lengths, rules, comparable=comparable)
        return key if policy is Policy.SCORE else -key
    if policy is Policy.AGED:
        ratio = np.maximum(sane(now, -LARGEST_KEY, LARGEST_KEY, 0.0) - arrival, 0.0)
        work = work_of(filled(lengths, queue, rules.prior_expected), queue, rules)
        return to_key(-ratio / aged_size(work, rules.age_exponent), MICRO)
    return to_key(arrival, MS)


def aged_size(work: FloatArray, exponent: float) -> FloatArray:
    """What AGED divides a waiting time by: ``max(W, 1) ** gamma``."""
    size: FloatArray = np.maximum(work, 1.0) ** sane(exponent, 0.0, _LARGEST_EXPONENT, 0.0)
    return np.minimum(size, LARGEST_KEY)


def strict_classes(queue: OrderColumns, rules: Rules, policy: Policy) -> IntArray | None:
    """Classes of which a lower one always goes first; None where there is but one.

    Under SCORE and LONGEST, and where a class has one of them, all are strict: their keys are no times.
    """
    by_score = policy in _BY_SCORE or any(own.policy in _BY_SCORE for own in rules.class_policies)
    if queue.priority_class is None or (rules.class_step is not None and not by_score):
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
    known = lengths[~np.isnan(lengths)]
    lengths = filled(lengths, queue, rules.prior_expected)
    work = work_of(lengths, queue, rules)
    if policy is Policy.DUE:
        due = arrival + patience_of(rules.patience) * work
    else:
        average = max(_mean_work(known, work, rules), 1.0)
        due = arrival + patience_of(rules.patience) * average * np.log(np.maximum(work, 1.0) / average)
    if queue.deadline is None:
        return due
    start_by = queue.deadline - running_time(lengths, queue, rules)
    return np.where(np.isfinite(queue.deadline), np.minimum(due, start_by), due)


def _mean_work(known: FloatArray, work: FloatArray, rules: Rules) -> float:
    """The M of BOOST. Beside scaling patience it moves all keys alike, so that a length does where no work is known."""
    if rules.mean_work is not None and 0 <= rules.mean_work < LARGEST_KEY:
        return rules.mean_work
    if len(known) or rules.prior_expected is not None:
        return prior_of(rules.prior_expected, known)
    return float(np.median(work))


def _score_key(queue: OrderColumns, lengths: FloatArray, rules: Rules, *, comparable: bool) -> IntArray:
    """Keys of the SCORE policy: expected work where every scored request has a length, else plain scores."""
    scored = np.isfinite(queue.score)
    known = ~np.isnan(lengths)
    scores = compared_scores(queue)
    by_length = known.any() and (not comparable or not (scored & ~known).any())
    if scores is None or rules.ignore_lengths or not scored.any() or by_length:
        expected = np.where(known, lengths, prior_of(rules.prior_expected, lengths[known]))
        return to_key(work_of(expected, queue, rules), MILLI_TOKENS)
    score = np.minimum(np.maximum(scores, -LARGEST_KEY), LARGEST_KEY)
    return to_key(np.where(scored, score, np.median(score[scored])), MICRO)


def patience_of(patience: float) -> float:
    """A patience that any number makes."""
    return min(patience, _LARGEST_PATIENCE) if patience > 0 else 0.0


def to_key(values: FloatArray, scale: float) -> NDArray[np.int64]:
    """Integers of a scale, clamped."""
    # minimum and maximum rather than clip, which takes longer than the rest for short queues; before scaling, so that
    # nothing overflows.
    largest = LARGEST_KEY / scale
    return np.floor(np.minimum(np.maximum(finite(values), -largest), largest) * scale).astype(np.int64)
