"""The serving key of a queue of one, in plain numbers: what ``order_queue`` gives for it, at a tenth of its cost."""

from __future__ import annotations

import math

import numpy as np

from rankd_client.ordering.columns import LATEST, sane
from rankd_client.ordering.rules import Policy, Rules
from rankd_client.ordering.serving_keys import LARGEST_KEY, MICRO, MILLI_TOKENS, MS, patience_of

_BY_SCORE = (Policy.SCORE, Policy.LONGEST)
_NAN = math.nan


def order_single(
    arrival: float,
    rules: Rules,
    *,
    score: float = _NAN,
    expected: float = _NAN,
    p90: float | None = None,
    generated: float | None = None,
    max_tokens: float | None = None,
    learned: float | None = None,
    scores_comparable: bool = True,
) -> tuple[int, Policy] | None:
    """The serving key and the policy of a request that waits alone; all else of an order is plain then.

    Of a request without deadline, priority class and prompt tokens. Arguments as columns of ``OrderColumns``, None for
    a column that is None.

    Returns:
        The key and what it follows; None where ``order_queue`` is to be asked (AGED).
    """
    policy = rules.policy
    if policy is Policy.AGED:
        return None
    length = _NAN if rules.ignore_lengths else _length_of(expected, rules.risk, p90, generated, max_tokens)
    arrival = 0.0 if math.isnan(arrival) else min(max(arrival, -LATEST), LATEST)
    known = not math.isnan(length)
    if learned is not None and math.isfinite(learned) and math.isfinite(score):
        score = learned
    if policy is not Policy.FCFS and not known:
        by_score = policy in _BY_SCORE and not rules.ignore_lengths
        if not (by_score and scores_comparable and math.isfinite(score)):
            policy = Policy.FCFS
    if policy is Policy.FCFS:
        return _to_key(arrival, MS), policy
    if policy in _BY_SCORE:
        key = _to_key(length, MILLI_TOKENS) if known else _to_key(score, MICRO)
        return (key if policy is Policy.SCORE else -key), policy
    if policy is Policy.DUE:
        return _to_key(arrival + patience_of(rules.patience) * length, MS), policy
    average = rules.mean_work
    if average is None or not 0 <= average < LARGEST_KEY:
        prior = rules.prior_expected
        average = prior if prior is not None and 0 <= prior < LARGEST_KEY else length  # as ``prior_of`` one length
    average = max(average, 1.0)
    # numpy's logarithm, whose last bit may differ from that of the system's.
    due = arrival + patience_of(rules.patience) * average * float(np.log(max(length, 1.0) / average))
    return _to_key(due, MS), policy


def _length_of(
    expected: float, risk: float, p90: float | None, generated: float | None, max_tokens: float | None
) -> float:
    """As ``lengths_of``."""
    length = expected if 0 <= expected < LARGEST_KEY else _NAN
    if p90 is not None and (share := sane(risk, 0.0, 1.0, 0.0)) and 0 <= p90 < LARGEST_KEY:
        length = (1 - share) * length + share * p90
    if math.isnan(length):
        return _NAN
    if max_tokens is not None and max_tokens > 0:
        length = min(length, max_tokens)
    if generated is not None and not math.isnan(generated):
        length = max(length, min(generated, LARGEST_KEY))
    elif generated is not None:
        length = max(length, 0.0)
    return length


def _to_key(value: float, scale: float) -> int:
    """As ``to_key``."""
    largest = LARGEST_KEY / scale
    return math.floor(min(max(0.0 if math.isnan(value) else value, -largest), largest) * scale)
