"""From an answer to its message."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rankd_client.ordering import Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.transport.convert.request import (
    LONGEST_SECOND,
    MOST_SHADOW_SCORES,
    OBJECTIVE_TO_PROTO,
    POLICY_TO_PROTO,
    REASON_TO_PROTO,
    timestamp,
    to_duration,
)
from rankd.types import Answer, Reason


class Identified(Protocol):
    """What an answer says an item by."""

    @property
    def request_id(self) -> str:
        """Its id."""

    @property
    def tenant(self) -> str:
        """Whose it is."""


_AT_ONCE = 32
"""Items between two places where others may come between."""

Item = TypeVar("Item", bound=Identified)
_own_prediction: Callable[[rank_pb2.RankItem], prediction_pb2.Prediction] = attrgetter("prediction")


def item_filler(
    out: Any,
    answer: Answer,
    items: Sequence[Item],
    prediction_of: Callable[[Item], prediction_pb2.Prediction],
    scored_at: Timestamp,
) -> Callable[[int], rank_pb2.RankedItem]:
    """A function that adds the ranked item of one position of the input to a repeated field.

    ``prediction_of`` gives the prediction that an item came with; it is asked only where the answer has no newer one.
    """
    keys = answer.serving_key.tolist()
    fresh = answer.fresh.tolist()
    missing = answer.missing
    shadows, slots = answer.shadow_scores, answer.pilot_slots
    add = out.add

    def fill(position: int) -> rank_pb2.RankedItem:
        item = items[position]
        ranked: rank_pb2.RankedItem = add(request_id=item.request_id, index=position, serving_key=keys[position])
        if fresh[position]:
            _fill_prediction(ranked.prediction, answer, position, scored_at)
            if item.tenant:
                ranked.prediction.tenant = item.tenant
            if position in slots:
                ranked.prediction.pilot_slot = slots[position]
        elif position in missing:
            ranked.reason = REASON_TO_PROTO[missing[position]]
            ranked.needs_prompt = missing[position] is Reason.NEEDS_PROMPT
        else:
            ranked.prediction.CopyFrom(prediction_of(item))
        if position in shadows and position not in missing:
            _add_shadows(ranked.prediction, shadows[position])
        return ranked

    return fill


def _add_shadows(prediction: prediction_pb2.Prediction, scores: list[tuple[str, float]]) -> None:
    """Add candidates' scores to those that an echoed prediction carries already."""
    known = {s.ranker_version for s in prediction.shadow_scores}
    for version, score in scores:
        if version not in known and len(prediction.shadow_scores) < MOST_SHADOW_SCORES:
            prediction.shadow_scores.add(ranker_version=version, score=score)


def _fill_prediction(prediction: prediction_pb2.Prediction, answer: Answer, index: int, scored_at: Timestamp) -> None:
    prediction.score = answer.score[index]
    prediction.ranker_version = answer.ranker_version
    prediction.scored_at.CopyFrom(scored_at)
    if not math.isnan(expected := answer.expected[index]):
        prediction.expected_token_count = expected
    if answer.p50 is not None and not math.isnan(p50 := answer.p50[index]):
        prediction.p50_token_count = p50
    if answer.p90 is not None and not math.isnan(p90 := answer.p90[index]):
        prediction.p90_token_count = p90
    if (features := answer.features.get(index)) is not None:
        prediction.features = features
    if answer.learned is not None and not math.isnan(learned := answer.learned[index]):
        prediction.learned_score = learned


@lru_cache(maxsize=256)
def patience_of(policy: Policy, patience: float) -> Duration | None:
    """What an answer says of patience: nothing, but under DUE and BOOST. The same message each time: it is copied."""
    knows = policy in (Policy.DUE, Policy.BOOST)
    return to_duration(min(patience, float(LONGEST_SECOND))) if knows else None


def response_steps(answer: Answer, items: Sequence[rank_pb2.RankItem]) -> Generator[None, None, rank_pb2.RankResponse]:
    """Put an answer together, a few items at a time."""
    response = rank_pb2.RankResponse(
        policy=POLICY_TO_PROTO[answer.policy],
        reason=REASON_TO_PROTO[answer.reason],
        ranker_version=answer.ranker_version,
        unscored_count=len(answer.missing),
        patience_per_token=patience_of(answer.policy, answer.patience),
        objective=OBJECTIVE_TO_PROTO[answer.objective],
        prompt_token_cost=answer.prompt_cost,
    )
    fill = item_filler(response.items, answer, items, _own_prediction, timestamp(time.time()))
    for count, position in enumerate(answer.order.tolist()):
        if count % _AT_ONCE == _AT_ONCE - 1:
            yield
        fill(position)
    return response
