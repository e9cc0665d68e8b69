"""Reports of what requests produced: completions as requests, and what the daemon says of them. No I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rankd_client._messages import MAX_BYTES, MAX_ITEMS, enum_name, set_time, text_of
from rankd_client._placed import Placed, placed_message
from rankd_client._types import Completed, ReportResult
from rankd_client._validation import LATEST
from rankd_client.v1 import completion_pb2

_FINISH = {
    "stop": completion_pb2.FINISH_REASON_STOP,
    "length": completion_pb2.FINISH_REASON_LENGTH,
    "aborted": completion_pb2.FINISH_REASON_ABORTED,
    "cancelled": completion_pb2.FINISH_REASON_CANCELLED,
    "in_progress": completion_pb2.FINISH_REASON_IN_PROGRESS,
}
_LONGEST_DURATION = 315_576_000_000.0


def reports(
    model: str, completions: Iterable[Completed], placed: Placed | None = None
) -> tuple[list[tuple[list[int], Any]], int]:
    """Completions as requests within the message limit, each with the indices it holds; and how many were skipped.

    How requests were placed goes with the first, or alone.

    A request is of one served model: ``model``, where a completion names none.

    Raises:
        ValueError: a finish reason or a count that there is none of.
    """
    out: list[tuple[list[int], completion_pb2.ReportCompletionsRequest]] = []
    open_requests: dict[str, tuple[list[int], completion_pb2.ReportCompletionsRequest]] = {}
    sizes: dict[str, int] = {}
    skipped = 0
    now = time.time()
    for index, done in enumerate(completions):
        if done.prediction is None:
            skipped += 1
            continue
        message = _completion(done, index)
        length = message.ByteSize() + 8
        name = model if done.model is None else text_of(done.model)
        size = sizes.get(name, MAX_BYTES)
        if size + length > MAX_BYTES or len(open_requests[name][0]) >= MAX_ITEMS:
            request = completion_pb2.ReportCompletionsRequest(model=name)
            set_time(request.now, now)
            out.append(([], request))
            open_requests[name], size = out[-1], 0
        indices, request = open_requests[name]
        indices.append(index)
        request.completions.append(message)
        sizes[name] = size + length
    if placed is not None and placed.total:
        if not out:
            out.append(([], completion_pb2.ReportCompletionsRequest(model=model)))
            set_time(out[0][1].now, now)
        out[0][1].placed.CopyFrom(placed_message(placed))
    return out, skipped


def report_result(parts: Sequence[tuple[list[int], Any]], skipped: int, error: str) -> ReportResult:
    """Read the answers to a report; ``parts`` holds the indices sent and the answer."""
    rejected = tuple(
        (
            indices[r.index] if r.index < len(indices) else -1,
            enum_name(completion_pb2.RejectionReason, r.reason, "REJECTION_REASON_", "reason_"),
            r.description,
        )
        for indices, answer in parts
        for r in answer.rejected
    )
    return ReportResult(
        accepted=sum(answer.accepted_count for _, answer in parts),
        duplicate=sum(answer.duplicate_count for _, answer in parts),
        rejected=rejected,
        skipped=skipped,
        error=error,
    )


def _completion(done: Completed, index: int) -> completion_pb2.Completion:
    finish = _FINISH.get(done.finish_reason)
    if finish is None:
        raise ValueError(f"completions[{index}].finish_reason: {done.finish_reason!r} is none of {', '.join(_FINISH)}")
    if not 0 <= done.output_tokens < 2**32:
        raise ValueError(f"completions[{index}].output_tokens: must be in 0 to 2**32 - 1")
    message = completion_pb2.Completion(
        request_id=text_of(done.request_id),
        prediction=done.prediction,
        output_token_count=done.output_tokens,
        prompt_token_count=done.prompt_tokens,
        cached_prompt_token_count=done.cached_prompt_tokens,
        finish_reason=finish,
        length_is_complete=done.length_is_complete,
    )
    if done.arrival is not None:
        if not 0 <= done.arrival <= LATEST:
            raise ValueError(f"completions[{index}].arrival: must be seconds since the epoch, not {done.arrival!r}")
        set_time(message.arrival_time, done.arrival)
    for name, seconds in (("queue_duration", done.queue_seconds), ("total_duration", done.total_seconds)):
        if seconds is not None and math.isfinite(seconds):
            set_time(getattr(message, name), min(max(0.0, seconds), _LONGEST_DURATION))
    return message
