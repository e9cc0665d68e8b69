"""What the sync and the async client share: requests, answers, splitting, falling back. No I/O."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import numpy as np

from rankd_client.ordering import Policy, order_queue
from rankd_client.types import ClientStats, Completed, Item, Ranked, RankedQueue, ReportResult, TlsConfig
from rankd_client.v1 import completion_pb2, prediction_pb2, rank_pb2

OPTIONS = [
    # After a daemon's restart the client is back within about a second instead of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
    # A retry would outlive the deadline; a fallback is at hand.
    ("grpc.enable_retries", 0),
]
MAX_BYTES = 3_500_000
"""Bytes of one request; grpc's default limit is 4 MiB, and what goes over it looks like overload."""
MAX_ITEMS = 16_384

_TO_PROTO = {
    Policy.FCFS: prediction_pb2.POLICY_FCFS,
    Policy.SCORE: prediction_pb2.POLICY_SCORE,
    Policy.DUE: prediction_pb2.POLICY_DUE,
}
FROM_PROTO = {v: k for k, v in _TO_PROTO.items()}
_FCFS = prediction_pb2.POLICY_FCFS
_FINISH = {
    "stop": completion_pb2.FINISH_REASON_STOP,
    "length": completion_pb2.FINISH_REASON_LENGTH,
    "aborted": completion_pb2.FINISH_REASON_ABORTED,
    "cancelled": completion_pb2.FINISH_REASON_CANCELLED,
    "in_progress": completion_pb2.FINISH_REASON_IN_PROGRESS,
}
_LATEST = 253402300799.0


class BadAnswerError(Exception):
    """An answer that does not hold every request exactly once."""


def credentials(tls: TlsConfig) -> grpc.ChannelCredentials:
    """Channel credentials of a TLS configuration."""
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate)


def reason_name(value: int) -> str:
    """A daemon's reason as a lower-case word; empty for none, a number for one that this client does not know."""
    if value == prediction_pb2.FALLBACK_REASON_UNSPECIFIED:
        return ""
    try:
        return prediction_pb2.FallbackReason.Name(value).removeprefix("FALLBACK_REASON_").lower()
    except ValueError:
        return f"reason_{value}"


class Queue:
    """One call's queue, checked, with what falling back needs."""

    def __init__(self, items: Iterable[str | Item], now: float | None = None) -> None:
        """Check items before anything is sent.

        Raises:
            ValueError: naming the item and field that the caller must correct.
        """
        self.now = time.time() if now is None else now
        self.items = [Item(i) if isinstance(i, str) else i for i in items]
        self.ids = [i.request_id if i.request_id is not None else uuid.uuid4().hex for i in self.items]
        self.arrival = [self.now if i.arrival is None else i.arrival for i in self.items]
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("request_id: two items have the same; ids must be unique within a queue")
        for index, (item, request_id, arrival) in enumerate(zip(self.items, self.ids, self.arrival, strict=True)):
            if not request_id:
                raise ValueError(f"items[{index}].request_id: must not be empty; leave it out to get one made up")
            if not (math.isfinite(arrival) and 0 <= arrival <= _LATEST):
                raise ValueError(f"items[{index}].arrival: must be seconds since the epoch, not {arrival!r}")
            if not (0 <= item.max_tokens < 2**32 and 0 <= item.generated_tokens < 2**32):
                raise ValueError(f"items[{index}]: max_tokens and generated_tokens must be in 0 to 2**32 - 1")

    def requests(self, model: str, policy: Policy | None) -> list[rank_pb2.RankRequest]:
        """The queue as requests, each within the message limit; one but for very long queues."""
        requests = [self._empty(model, policy)]
        size = 0
        for item, request_id, arrival in zip(self.items, self.ids, self.arrival, strict=True):
            message = _message(item, request_id, arrival)
            length = message.ByteSize() + 8
            if requests[-1].items and (size + length > MAX_BYTES or len(requests[-1].items) >= MAX_ITEMS):
                requests.append(self._empty(model, policy))
                size = 0
            requests[-1].items.append(message)
            size += length
        return requests

    def _empty(self, model: str, policy: Policy | None) -> rank_pb2.RankRequest:
        request = rank_pb2.RankRequest(model=model)
        _set_time(request.now, self.now)
        if policy is not None:
            request.policy = _TO_PROTO[policy]
        return request

    def answer(self, responses: Sequence[rank_pb2.RankResponse]) -> RankedQueue:
        """Read the daemon's answers; several are merged by serving key, then arrival, then id.

        Raises:
            BadAnswerError: they do not hold every request exactly once.
        """
        place = {request_id: index for index, request_id in enumerate(self.ids)}
        rows = [(item, response) for response in responses for item in response.items]
        if len(rows) != len(self.ids) or {item.request_id for item, _ in rows} != place.keys():
            raise BadAnswerError("the daemon's answer does not hold every request exactly once")
        if len(responses) > 1:
            rows.sort(key=lambda r: (r[0].serving_key, self.arrival[place[r[0].request_id]], r[0].request_id.encode()))
        # Parts can differ in policy, as when a deadline came between them: the weakest word is the whole's.
        first = next((r for r in responses if r.reason), responses[0])
        fell_back = any(FROM_PROTO.get(r.policy) is Policy.FCFS for r in responses)
        policy = Policy.FCFS if fell_back else FROM_PROTO.get(first.policy)
        if policy is None:
            raise BadAnswerError("the daemon answered with a policy that this client does not know")
        ranked = tuple(
            Ranked(
                position=position,
                request_id=item.request_id,
                index=place[item.request_id],
                serving_key=item.serving_key,
                prediction=item.prediction if item.HasField("prediction") else None,
                reason=reason_name(item.reason or (response.reason if response.policy == _FCFS else 0)),
                needs_prompt=item.needs_prompt,
            )
            for position, (item, response) in enumerate(rows, 1)
        )
        return RankedQueue(ranked, policy, reason_name(first.reason), first.ranker_version)

    def fallback(self, reason: str) -> RankedQueue:
        """The queue in arrival order."""
        nothing = np.full(len(self.ids), np.nan)
        ordering = order_queue(
            Policy.FCFS,
            self.ids,
            np.array(self.arrival, dtype=np.float64),
            score=nothing,
            expected=nothing,
            patience=0.0,
        )
        ranked = tuple(
            Ranked(position, self.ids[i], i, int(ordering.serving_key[i]), self.items[i].prediction, reason)
            for position, i in enumerate(ordering.order.tolist(), 1)
        )
        return RankedQueue(ranked, Policy.FCFS, reason, "", failed=True)


def explain(error: Exception) -> tuple[str, str]:
    """A failure as (reason, text)."""
    if isinstance(error, BadAnswerError):
        return "bad_answer", str(error)
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    if isinstance(error, TimeoutError | grpc.FutureTimeoutError) or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "timeout", "no answer within the deadline"
    if isinstance(code, grpc.StatusCode):
        text = (error.details() or "").splitlines()[:1] if hasattr(error, "details") else []
        reason = "unavailable" if code is grpc.StatusCode.UNAVAILABLE else f"error:{code.name}"
        return reason, text[0] if text else code.name
    return f"error:{type(error).__name__}", type(error).__name__


def count(stats: ClientStats, queue: RankedQueue, error: str = "") -> RankedQueue:
    """Note how a call went; gives the queue back."""
    with stats.lock:
        stats.calls += 1
        if queue.reason:
            stats.fallbacks[queue.reason] += 1
        else:
            stats.ranked += 1
        if error:
            stats.last_error = error
    return queue


def reports(model: str, completions: Iterable[Completed]) -> tuple[list[tuple[list[int], Any]], int]:
    """Completions as requests within the message limit, each with the indices it holds; and how many were skipped.

    Raises:
        ValueError: a finish reason or a count that there is none of.
    """
    out: list[tuple[list[int], completion_pb2.ReportCompletionsRequest]] = []
    skipped, size = 0, MAX_BYTES
    now = time.time()
    for index, done in enumerate(completions):
        if done.prediction is None:
            skipped += 1
            continue
        message = _completion(done, index)
        length = message.ByteSize() + 8
        if size + length > MAX_BYTES or len(out[-1][0]) >= MAX_ITEMS:
            request = completion_pb2.ReportCompletionsRequest(model=model)
            _set_time(request.now, now)
            out.append(([], request))
            size = 0
        out[-1][0].append(index)
        out[-1][1].completions.append(message)
        size += length
    return out, skipped


def report_result(parts: Sequence[tuple[list[int], Any]], skipped: int, error: str) -> ReportResult:
    """Read the answers to a report; ``parts`` holds the indices sent and the answer."""
    rejected = tuple(
        (
            indices[r.index] if r.index < len(indices) else -1,
            completion_pb2.RejectionReason.Name(r.reason).removeprefix("REJECTION_REASON_").lower()
            if r.reason in completion_pb2.RejectionReason.values()
            else f"reason_{r.reason}",
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


def _message(item: Item, request_id: str, arrival: float) -> rank_pb2.RankItem:
    message = rank_pb2.RankItem(
        request_id=_utf8(request_id), max_token_count=item.max_tokens, generated_token_count=item.generated_tokens
    )
    if item.prompt is not None:
        message.prompt = _utf8(item.prompt)
    if item.prediction is not None:
        message.prediction.CopyFrom(item.prediction)
    _set_time(message.arrival_time, arrival)
    return message


def _completion(done: Completed, index: int) -> completion_pb2.Completion:
    finish = _FINISH.get(done.finish_reason)
    if finish is None:
        raise ValueError(f"completions[{index}].finish_reason: {done.finish_reason!r} is none of {', '.join(_FINISH)}")
    if not 0 <= done.output_tokens < 2**32:
        raise ValueError(f"completions[{index}].output_tokens: must be in 0 to 2**32 - 1")
    message = completion_pb2.Completion(
        request_id=_utf8(done.request_id),
        prediction=done.prediction,
        output_token_count=done.output_tokens,
        finish_reason=finish,
        length_is_complete=done.length_is_complete,
    )
    if done.arrival is not None:
        _set_time(message.arrival_time, done.arrival)
    for name, seconds in (("queue_duration", done.queue_seconds), ("total_duration", done.total_seconds)):
        if seconds is not None and math.isfinite(seconds):
            _set_time(getattr(message, name), max(0.0, seconds))
    return message


def _utf8(text: str) -> str:
    """Text that protobuf takes: lone surrogates, which are no Unicode text, are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _set_time(message: Any, seconds: float) -> None:
    whole = math.floor(seconds)
    message.seconds = whole
    message.nanos = min(999_999_999, int((seconds - whole) * 1e9))
