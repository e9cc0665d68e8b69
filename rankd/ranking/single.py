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
from rankd_client.ordering import Objective, Policy, order_single
from rankd_client.shape import RequestShape

from rankd.monitor.trust import Trust
from rankd.ranking.policy import EffectivePolicy
from rankd.ranking.reasons import is_timeless, reason_of
from rankd.registry.loaded import LoadedRanker
from rankd.types import Answer, RankQueue, Reason, Scored

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
class SingleRequest:
    """A queue of one, as ``RankQueue`` has it by column; NaN and None stand for what is not known."""

    model: str
    now: float
    policy: Policy | None
    objective: Objective | None
    ranker_version: str
    prompt: str | None
    arrival: float
    max_tokens: float
    generated: float
    tenant: str = ""
    shape: RequestShape | None = None
    echoes: bool = False
    """Whether it brings a prediction: what follows."""
    score: float = _NAN
    score_version: str | None = None
    expected: float = _NAN
    p90: float = _NAN
    learned: float = _NAN


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


@dataclass(slots=True)
class SingleAnswer:
    """``Answer`` to a queue of one."""

    serving_key: int
    policy: Policy
    reason: Reason
    ranker_version: str
    known: SingleExpectation
    missing: Reason | None
    effective: EffectivePolicy
    scored_at: float = 0.0

    @property
    def columns(self) -> Answer:
        """The same by column."""
        known, rules = self.known, self.effective.rules
        return Answer(
            order=_ORDER,
            serving_key=np.array((self.serving_key,)),
            policy=self.policy,
            reason=self.reason,
            ranker_version=self.ranker_version,
            score=np.array((known.score,)),
            expected=np.array((known.expected,)),
            p50=_column(known.p50),
            p90=_column(known.p90),
            fresh=np.array((known.fresh,)),
            missing={} if self.missing is None else {0: self.missing},
            shadow_scores={},
            pilot_slots={},
            patience=rules.patience,
            objective=self.effective.objective,
            prompt_cost=rules.prompt_cost,
            timeless=is_timeless(self.policy, rules, has_deadline=False),
            scored_at=self.scored_at,
            features={} if known.features is None else {0: known.features},
            learned=_column(known.learned),
        )


def single_of(queue: RankQueue) -> SingleRequest:
    """The one item of a queue for which ``is_single`` holds."""
    return SingleRequest(
        queue.model,
        queue.now,
        queue.policy,
        queue.objective,
        queue.ranker_version,
        queue.prompts[0],
        float(queue.arrival[0]),
        float(queue.max_tokens[0]),
        float(queue.generated[0]),
        queue.tenant_of(0),
        None if queue.shapes is None else queue.shapes[0],
        queue.echoes,
        float(queue.score[0]),
        queue.score_versions[0],
        float(queue.expected[0]),
        float(queue.p90[0]),
        _NAN if queue.learned is None else float(queue.learned[0]),
    )


def expect_single(
    request: SingleRequest, ranker: LoadedRanker, trust: Trust, scored: Scored | None, missing: Reason | None = None
) -> SingleExpectation:
    """What is expected of a request, as ``expectation_steps`` has it.

    Args:
        request: it.
        ranker: who scored it.
        trust: in the ranker.
        scored: what the ranker said of it just now; None where it was not asked, or said nothing.
        missing: why it has no prediction; None where it has one, its own or this.
    """
    score = _NAN if scored is None else scored.score
    fresh = not math.isnan(score)
    found = SingleExpectation(fresh, score)
    if ranker.hasher is not None and scored is not None:
        found.features = ranker.hasher.pack(
            scored.text, request.shape, max_tokens=request.max_tokens, tenant=request.tenant
        )
    scored_by = False
    if not fresh and request.echoes:
        found.score, found.expected = request.score, request.expected
        scored_by = request.score_version == ranker.version
    blank = math.isnan(found.expected) and (fresh or scored_by)
    if trust.learned_in_use and trust.adaptation is not None:
        found.learned = _learned(request, trust, found)
        told = not math.isnan(found.learned)
        if blank:
            _fill(found, trust.calibration if told else trust.base_calibration, found.learned if told else found.score)
    elif trust.calibration is not None and (blank or fresh):
        _fill(found, trust.calibration, found.score, blank=blank)
    if missing is not None:
        found.score = found.expected = _NAN
    return found


def _learned(request: SingleRequest, trust: Trust, found: SingleExpectation) -> float:
    """The learned score of a fresh item, else the one that it came with; NaN: none."""
    if not found.fresh:
        return request.learned
    if found.features is None or trust.adaptation is None:
        return _NAN
    learned = float(trust.adaptation.scores(np.array((found.score,)), [found.features])[0])
    return learned if math.isfinite(learned) else _NAN


def _fill(found: SingleExpectation, calibration: Calibration | None, value: float, *, blank: bool = True) -> None:
    if calibration is None:
        return
    expected, p50, p90 = calibration.at(value)
    if blank:
        found.expected = expected
    if found.fresh:
        found.p50, found.p90 = p50, p90


def answer_single(
    request: SingleRequest,
    ranker: LoadedRanker,
    trust: Trust,
    effective: EffectivePolicy,
    scored: Scored | None,
    missing: Reason | None = None,
) -> SingleAnswer | None:
    """The answer to a queue of one under a policy in force; None where it takes all columns (AGED)."""
    known = expect_single(request, ranker, trust, scored, missing)
    found = order_single(
        request.arrival,
        effective.rules,
        score=known.score,
        expected=known.expected,
        p90=known.p90 if known.fresh and known.p90 is not None else request.p90,
        generated=request.generated,
        max_tokens=request.max_tokens,
        learned=known.learned,
        scores_comparable=not request.echoes or request.score_version in (None, ranker.version),
    )
    if found is None:
        return None
    key, policy = found
    reason = Reason.REQUESTED if effective.wanted is Policy.FCFS else effective.reason
    reason = reason_of(effective.policy, reason, policy, {} if missing is None else {0: missing})
    return SingleAnswer(key, policy, reason, ranker.version, known, missing, effective)


def _column(value: float | None) -> NDArray[np.float64] | None:
    """One value as a column; None stays None."""
    return None if value is None else np.array((value,))
