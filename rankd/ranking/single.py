"""The answer to a queue of one, in plain numbers.

Many engines ask about every request when it comes. What numpy does for a thousand items costs as much for one as for a
hundred: here is the same without it. ``order`` in ``ranker.py`` is the reference, and tests hold the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rankd_client.calibration import Calibration
from rankd_client.ordering import Policy, Rules, order_single

from rankd.monitor.trust import Trust
from rankd.ranking.expectations import FreshScores
from rankd.ranking.policy import EffectivePolicy
from rankd.ranking.reasons import is_timeless, reason_of
from rankd.registry.loaded import LoadedRanker
from rankd.types import Answer, RankQueue, Reason

_NAN = math.nan
_ORDER: NDArray[np.intp] = np.zeros(1, dtype=np.intp)
"""Of one item. Nobody writes to an answer's order."""
_ORDER.flags.writeable = False


def is_single(queue: RankQueue) -> bool:
    """Whether a queue is one request with nothing beside it, and nothing asked of it that takes all columns."""
    constraints = queue.constraints
    return (
        len(queue.request_ids) == 1
        and not queue.backlog
        and constraints.deadline is None
        and constraints.priority_class is None
        and constraints.prompt_tokens is None
    )


@dataclass(slots=True)
class SingleExpectation:
    """``Expectations`` of one item; NaN where nothing is known, None where it is of none."""

    fresh: bool
    score: float
    expected: float = _NAN
    p50: float | None = None
    p90: float | None = None
    learned: float | None = None
    features: bytes | None = None


def expect_single(queue: RankQueue, ranker: LoadedRanker, trust: Trust, fresh_scores: FreshScores) -> SingleExpectation:
    """What is expected of the one item of a queue, as ``expectation_steps`` has it."""
    score = float(fresh_scores.score[0])
    fresh = not math.isnan(score)
    found = SingleExpectation(fresh, score)
    if ranker.hasher is not None and 0 in fresh_scores.texts:
        found.features = ranker.hasher.pack(
            fresh_scores.texts[0],
            None if queue.shapes is None else queue.shapes[0],
            max_tokens=float(queue.max_tokens[0]),
            tenant=queue.tenant_of(0),
        )
    scored_by = False
    if not fresh and queue.echoes:
        found.score, found.expected = float(queue.score[0]), float(queue.expected[0])
        scored_by = queue.score_versions[0] == ranker.version
    blank = math.isnan(found.expected) and (fresh or scored_by)
    if trust.learned_in_use and trust.adaptation is not None:
        found.learned = _learned(queue, trust, fresh_scores, found)
        told = not math.isnan(found.learned)
        if blank:
            _fill(found, trust.calibration if told else trust.base_calibration, found.learned if told else found.score)
    elif trust.calibration is not None:
        if blank:
            found.expected = float(trust.calibration.expected(np.asarray(found.score)))
        if fresh:
            _fill_quantiles(found, trust.calibration, found.score)
    if 0 in fresh_scores.missing:
        found.score = found.expected = _NAN
    return found


def _learned(queue: RankQueue, trust: Trust, fresh_scores: FreshScores, found: SingleExpectation) -> float:
    """The learned score of a fresh item, else the one that it came with; NaN: none."""
    if not found.fresh:
        return _NAN if queue.learned is None else float(queue.learned[0])
    if found.features is None or trust.adaptation is None:
        return _NAN
    learned = float(trust.adaptation.scores(fresh_scores.score, [found.features])[0])
    return learned if math.isfinite(learned) else _NAN


def _fill(found: SingleExpectation, calibration: Calibration | None, value: float) -> None:
    if calibration is not None:
        found.expected = float(calibration.expected(np.asarray(value)))
        if found.fresh:
            _fill_quantiles(found, calibration, value)


def _fill_quantiles(found: SingleExpectation, calibration: Calibration, value: float) -> None:
    low, high = calibration.p50(np.asarray(value)), calibration.p90(np.asarray(value))
    found.p50 = None if low is None else float(low)
    found.p90 = None if high is None else float(high)


def key_single(
    queue: RankQueue, ranker: LoadedRanker, known: SingleExpectation, rules: Rules
) -> tuple[int, Policy] | None:
    """The serving key and what it follows; None where the rules are none for plain numbers."""
    p90 = known.p90 if known.p90 is not None and known.fresh else float(queue.p90[0])
    return order_single(
        float(queue.arrival[0]),
        rules,
        score=known.score,
        expected=known.expected,
        p90=p90,
        generated=float(queue.generated[0]),
        max_tokens=float(queue.max_tokens[0]),
        learned=known.learned,
        scores_comparable=not queue.echoes or queue.score_versions[0] in (None, ranker.version),
    )


def answer_single(
    queue: RankQueue, ranker: LoadedRanker, trust: Trust, fresh_scores: FreshScores, effective: EffectivePolicy
) -> Answer | None:
    """The answer to a queue of one under a policy in force; None where it takes all columns."""
    known = expect_single(queue, ranker, trust, fresh_scores)
    found = key_single(queue, ranker, known, effective.rules)
    if found is None:
        return None
    key, policy = found
    reason = Reason.REQUESTED if effective.wanted is Policy.FCFS else effective.reason
    return Answer(
        order=_ORDER,
        serving_key=np.array((key,)),
        policy=policy,
        reason=reason_of(effective.policy, reason, policy, fresh_scores.missing),
        ranker_version=ranker.version,
        score=np.array((known.score,)),
        expected=np.array((known.expected,)),
        p50=_column(known.p50),
        p90=_column(known.p90),
        fresh=np.array((known.fresh,)),
        missing=fresh_scores.missing,
        shadow_scores={},
        pilot_slots={},
        patience=effective.rules.patience,
        objective=effective.objective,
        prompt_cost=effective.rules.prompt_cost,
        timeless=is_timeless(policy, effective.rules, has_deadline=False),
        scored_at=0.0,
        features={} if known.features is None else {0: known.features},
        learned=_column(known.learned),
    )


def _column(value: float | None) -> NDArray[np.float64] | None:
    """One value as a column; None stays None."""
    return None if value is None else np.array((value,))
