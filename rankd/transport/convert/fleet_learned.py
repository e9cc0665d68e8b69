"""Completions that replicas learn from, as proto and back. Times travel as ages."""

from __future__ import annotations

import math

from rankd_client.v1 import quality_pb2

from rankd.adaptation import LearnedCompletion
from rankd.adaptation.features import MOST_BYTES
from rankd.fleet.learned_rows import MOST_ROWS, LearnedAnswer, LearnedCursor, LearnedRow
from rankd.fleet.learning import LearnedQuestion
from rankd.quality.values import MAX_TOKENS
from rankd.transport.convert.fleet import LONGEST_AGE, MOST_INSTANCE, MOST_NAME_BYTES

_MOST_SEQUENCE = 2**53


def question_to_proto(question: LearnedQuestion | None) -> quality_pb2.GetFleetShareRequest:
    """What a peer is asked."""
    if question is None:
        return quality_pb2.GetFleetShareRequest()
    cursor = quality_pb2.LearnedCursor(instance=question.cursor.instance, sequence=question.cursor.sequence)
    if question.everything:
        return quality_pb2.GetFleetShareRequest(learned_everything=cursor)
    return quality_pb2.GetFleetShareRequest(learned=cursor)


def question_from_proto(request: quality_pb2.GetFleetShareRequest) -> LearnedQuestion | None:
    """What a peer asks for; None for no completions."""
    everything = request.HasField("learned_everything")
    if not everything and not request.HasField("learned"):
        return None
    cursor = request.learned_everything if everything else request.learned
    return LearnedQuestion(LearnedCursor(cursor.instance, cursor.sequence), everything)


def add_answer(out: quality_pb2.GetFleetShareResponse, answer: LearnedAnswer, now: float) -> None:
    """Tell a peer what it asked for."""
    for row in answer.rows:
        completion = row.completion
        out.learned.add(
            model=row.model,
            ranker_version=row.ranker_version,
            score=completion.score,
            features=completion.features,
            output_token_count=completion.tokens,
            complete=completion.complete,
            source=completion.source,
            age_seconds=max(0.0, now - completion.at),
            instance="" if row.instance == answer.until.instance else row.instance,
            sequence=row.sequence,
            arrival_age_seconds=max(0.0, now - completion.arrival) if math.isfinite(completion.arrival) else 0.0,
        )
    out.learned_until.instance = answer.until.instance
    out.learned_until.sequence = answer.until.sequence
    out.more_learned = answer.more


def answer_from_proto(message: quality_pb2.GetFleetShareResponse, now: float) -> LearnedAnswer:
    """What a peer told, at most ``MOST_ROWS`` completions of it; one that cannot be is left out."""
    rows = []
    for told in message.learned[:MOST_ROWS]:
        possible = (
            math.isfinite(told.score)
            and told.output_token_count <= MAX_TOKENS
            and len(told.features) <= MOST_BYTES
            and 0 <= told.age_seconds <= LONGEST_AGE
            and 0 <= told.arrival_age_seconds <= LONGEST_AGE
            and 1 <= told.sequence <= _MOST_SEQUENCE
            and len(told.instance) <= MOST_INSTANCE
            and max(len(told.model.encode()), len(told.ranker_version.encode())) <= MOST_NAME_BYTES
        )
        if possible:
            rows.append(_row(told, told.instance or message.instance, now))
    until = LearnedCursor(message.learned_until.instance, min(message.learned_until.sequence, _MOST_SEQUENCE))
    return LearnedAnswer(rows, until, message.more_learned)


def _row(told: quality_pb2.LearnedCompletion, instance: str, now: float) -> LearnedRow:
    completion = LearnedCompletion(
        score=told.score,
        features=told.features,
        tokens=told.output_token_count,
        complete=told.complete,
        source=told.source,
        at=now - told.age_seconds,
        arrival=now - max(told.age_seconds, told.arrival_age_seconds),
    )
    return LearnedRow(told.model, told.ranker_version, completion, instance, told.sequence)
