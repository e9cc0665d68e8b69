"""RankStream's messages: items of a stream from theirs, the head of an answer to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import repeat

from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.ranking.stream import LastAnswer, StreamItem, StreamQueue
from rankd.transport.convert.answer import patience_of
from rankd.transport.convert.columns import RequestColumns
from rankd.transport.convert.request import (
    OBJECTIVE_TO_PROTO,
    POLICY_TO_PROTO,
    REASON_TO_PROTO,
)
from rankd.types import PromptReach


def stream_items(
    columns: RequestColumns, messages: Sequence[rank_pb2.RankItem], reach: PromptReach
) -> Iterator[StreamItem]:
    """Items that arrived, one at a time.

    Args:
        columns: of them, validated.
        messages: themselves.
        reach: how much of a prompt to keep.
    """
    constraints, places = columns.constraints, range(len(columns.request_ids))
    # By columns, in the order of StreamItem's fields: looking each up for every item takes longer than making the item.
    return map(
        StreamItem,
        columns.request_ids,
        (None if prompt is None else reach.cut(prompt) for prompt in columns.prompts),
        columns.arrival,
        columns.max_tokens,
        columns.generated,
        columns.score,
        columns.expected,
        columns.p90,
        columns.versions,
        constraints.deadline,
        constraints.overtaken,
        constraints.priority_class,
        constraints.tenant,
        constraints.prompt_tokens,
        constraints.cached_prompt_tokens,
        constraints.running,
        (columns.learned.get(i, math.nan) for i in places) if columns.learned else repeat(math.nan),
        (columns.shapes.get(i) for i in places) if columns.shapes else repeat(None),
        (m.prediction.SerializeToString() if m.HasField("prediction") else b"" for m in messages),
    )


def progress(queue: StreamQueue, message: rank_pb2.RankStreamProgress) -> None:
    """Take an item's progress in."""
    queue.progress(
        message.request_id,
        message.generated_token_count,
        message.running if message.HasField("running") else None,
        message.overtaken_count if message.HasField("overtaken_count") else None,
    )


def unpacked(item: StreamItem) -> prediction_pb2.Prediction:
    """The prediction that an item keeps."""
    return prediction_pb2.Prediction.FromString(item.packed)


def scored(queue: StreamQueue, item: StreamItem, prediction: prediction_pb2.Prediction) -> None:
    """Let a new prediction, signed where that is done, stand for an item's text from here on."""
    has = prediction.HasField
    queue.scored(
        item,
        packed=prediction.SerializeToString(),
        score=prediction.score,
        version=prediction.ranker_version,
        expected=prediction.expected_token_count if has("expected_token_count") else math.nan,
        p90=prediction.p90_token_count if has("p90_token_count") else math.nan,
        learned=prediction.learned_score if has("learned_score") else math.nan,
    )


def stream_response(answer: LastAnswer, sequence: int) -> rank_pb2.RankStreamResponse:
    """An answer without the items that changed: all of one that repeats the last, the head of any other."""
    return rank_pb2.RankStreamResponse(
        sequence=sequence,
        request_ids=answer.ids,
        policy=POLICY_TO_PROTO[answer.policy],
        reason=REASON_TO_PROTO[answer.reason],
        ranker_version=answer.basis.ranker_version,
        unscored_count=len(answer.missing),
        patience_per_token=patience_of(answer.policy, answer.patience),
        objective=OBJECTIVE_TO_PROTO[answer.objective],
        prompt_token_cost=answer.prompt_cost,
    )
