"""A queue of one from its message to its answer's, where nothing is unusual about it.

The same as ``queue_steps`` and ``response_steps`` make, without columns. What these would refuse, or take more than one
plain number for, is left to them.
"""

from __future__ import annotations

import math
import time

from google.protobuf.timestamp_pb2 import Timestamp
from rankd_client.v1 import rank_pb2

from rankd.ranking.single import SingleAnswer, SingleRequest
from rankd.settings import LimitsSection, OrderSection
from rankd.transport.convert.answer import patience_of
from rankd.transport.convert.request import (
    EARLIEST_SECOND,
    LATEST_SECOND,
    OBJECTIVE_TO_PROTO,
    POLICY_TO_PROTO,
    REASON_TO_PROTO,
    Violations,
    objective_of,
    policy_of,
    too_long,
)


def single_request(
    request: rank_pb2.RankRequest, item: rank_pb2.RankItem, limits: LimitsSection, order: OrderSection
) -> SingleRequest | None:
    """A request's only item; None where ``queue_steps`` is to be asked.

    What is said of it that a queue of one does not depend on is not looked at: whether it runs, how often it was
    overtaken.
    """
    if not (_is_plain(request, item) and _fits(request, item, limits)):
        return None
    policy = objective = None
    if request.policy or request.objective:
        violations = Violations()
        policy = policy_of(request.policy, "policy", violations)
        objective = objective_of(request.objective, "objective", order, violations)
        if violations.found:
            return None
    now = _seconds(request.now) if request.HasField("now") else time.time()
    arrival = min(_seconds(item.arrival_time), now) if item.HasField("arrival_time") else now
    if math.isnan(now) or math.isnan(arrival):
        return None
    return SingleRequest(
        request.model,
        now,
        policy,
        objective,
        request.ranker_version,
        item.prompt,
        arrival,
        float(item.max_token_count),
        float(item.generated_token_count),
        item.tenant,
    )


def _is_plain(request: rank_pb2.RankRequest, item: rank_pb2.RankItem) -> bool:
    """Whether it asks for nothing that takes columns, and brings no prediction."""
    return not (
        item.HasField("prediction")
        or item.HasField("deadline")
        or item.HasField("shape")
        or item.priority_class
        or item.prompt_token_count
        or request.backlog_request_count
        or len(request.tenants)
    )


def _fits(request: rank_pb2.RankRequest, item: rank_pb2.RankItem, limits: LimitsSection) -> bool:
    """Whether its texts are there, and none is too long."""
    request_id, prompt, most = item.request_id, item.prompt, limits.max_name_bytes
    return bool(request_id and prompt) and not (
        too_long(request_id, limits.max_request_id_bytes)
        or too_long(prompt, limits.max_prompt_bytes)
        or too_long(request.model, most)
        or too_long(request.ranker_version, most)
        or too_long(item.tenant, most)
    )


def _seconds(stamp: Timestamp) -> float:
    """Seconds since the epoch; NaN where it is no time."""
    seconds, nanos = stamp.seconds, stamp.nanos
    if EARLIEST_SECOND <= seconds <= LATEST_SECOND and 0 <= nanos < 1_000_000_000:
        return float(seconds + nanos * 1e-9)
    return math.nan


def single_response(answer: SingleAnswer, request_id: str, tenant: str) -> rank_pb2.RankResponse:
    """The message of an answer to a request that got a new prediction."""
    known, effective = answer.known, answer.effective
    response = rank_pb2.RankResponse(
        policy=POLICY_TO_PROTO[answer.policy],
        reason=REASON_TO_PROTO[answer.reason],
        ranker_version=answer.ranker_version,
        patience_per_token=patience_of(answer.policy, effective.rules.patience),
        objective=OBJECTIVE_TO_PROTO[effective.objective],
        prompt_token_cost=effective.rules.prompt_cost,
    )
    ranked = response.items.add(request_id=request_id, serving_key=answer.serving_key)
    prediction = ranked.prediction
    prediction.score = known.score
    prediction.ranker_version = answer.ranker_version
    seconds = time.time()
    whole = math.floor(seconds)
    stamp = prediction.scored_at
    stamp.seconds, stamp.nanos = whole, min(999_999_999, int((seconds - whole) * 1e9))
    if not math.isnan(expected := known.expected):
        prediction.expected_token_count = expected
    if (p50 := known.p50) is not None and not math.isnan(p50):
        prediction.p50_token_count = p50
    if (p90 := known.p90) is not None and not math.isnan(p90):
        prediction.p90_token_count = p90
    if known.features is not None:
        prediction.features = known.features
    if (learned := known.learned) is not None and not math.isnan(learned):
        prediction.learned_score = learned
    if tenant:
        prediction.tenant = tenant
    return response
