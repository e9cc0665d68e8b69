"""Requests as messages: what both clients and their streams send. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rankd_client._types import MAX_ID_BYTES, Item
from rankd_client._validation import utf8
from rankd_client.ordering import Objective, Policy
from rankd_client.shape import RequestShape
from rankd_client.v1 import prediction_pb2, rank_pb2

MAX_BYTES = 3_500_000
"""Bytes of one message, predictions that a queue echoes aside; grpc's default limit is 4 MiB, and what goes over it
looks like overload."""
MAX_ECHO_BYTES = 15_000_000
"""Bytes of one queue with its predictions: within the daemon's default limit of 16 MiB. Parts of a queue are ordered
one by one: one of thousands of predictions, each of up to a kilobyte, is to stay whole."""
MAX_ITEMS = 16_384
"""Of one request; the daemon's default limit."""
TO_PROTO = {
    Policy.FCFS: prediction_pb2.POLICY_FCFS,
    Policy.SCORE: prediction_pb2.POLICY_SCORE,
    Policy.DUE: prediction_pb2.POLICY_DUE,
    Policy.AGED: prediction_pb2.POLICY_AGED,
    Policy.BOOST: prediction_pb2.POLICY_BOOST,
    Policy.LONGEST: prediction_pb2.POLICY_LONGEST,
}
FROM_PROTO = {v: k for k, v in TO_PROTO.items()}
OBJECTIVE_TO_PROTO = {
    Objective.TAIL: prediction_pb2.OBJECTIVE_TAIL,
    Objective.BALANCED: prediction_pb2.OBJECTIVE_BALANCED,
    Objective.MEAN: prediction_pb2.OBJECTIVE_MEAN,
    Objective.SLO: prediction_pb2.OBJECTIVE_SLO,
    Objective.MAKESPAN: prediction_pb2.OBJECTIVE_MAKESPAN,
    Objective.FIRST: prediction_pb2.OBJECTIVE_FIRST,
}
OBJECTIVE_FROM_PROTO = {v: k for k, v in OBJECTIVE_TO_PROTO.items()}
_MOST_CHARACTERS = 250_000
"""Of a prompt: at most 1 MB of UTF-8, within the daemon's default limit of 1 MiB."""


def message_of(item: Item, request_id: str, arrival: float) -> rank_pb2.RankItem:
    """An item that was checked, as a message."""
    message = rank_pb2.RankItem(
        request_id=request_id,
        max_token_count=item.max_tokens,
        generated_token_count=item.generated_tokens,
        prompt_token_count=item.prompt_tokens,
        cached_prompt_token_count=item.cached_prompt_tokens,
        overtaken_count=item.overtaken,
        priority_class=item.priority_class,
        tenant=item.tenant,
        running=item.running,
    )
    if item.deadline is not None:
        set_time(message.deadline, item.deadline)
    if item.prompt is not None:
        message.prompt = text_of(_shortened(item.prompt))
    if item.prediction is not None:
        message.prediction.CopyFrom(item.prediction)
    if item.shape is not None:
        message.shape.CopyFrom(_shape_message(item.shape))
    set_time(message.arrival_time, arrival)
    return message


def _shape_message(shape: RequestShape) -> rank_pb2.RequestShape:
    return rank_pb2.RequestShape(
        message_count=shape.messages,
        tool_count=shape.tools,
        last_role=shape.last_role,
        tool_choice=shape.tool_choice,
        response_format=shape.response_format,
        reasoning_effort=shape.reasoning_effort,
        thinking_token_budget=shape.thinking_budget,
        choice_count=shape.choices,
        stop_count=shape.stops,
        step=shape.step,
    )


def tenant_services(served: Mapping[str, float], weights: Mapping[str, float]) -> list[rank_pb2.TenantService]:
    """What tenants were served, as messages.

    Raises:
        ValueError: a number cannot be.
    """
    for name, numbers, least in (("served", served, "at least 0"), ("weights", weights, "above 0")):
        for tenant, value in numbers.items():
            if len(utf8(tenant, name)) > MAX_ID_BYTES:
                raise ValueError(f"{name}: a tenant's name is over {MAX_ID_BYTES} bytes")
            if not 0 <= value < math.inf or (name == "weights" and not value):
                raise ValueError(f"{name}: must be {least} and finite, not {value!r}")
    return [
        rank_pb2.TenantService(tenant=t, served_token_count=served.get(t, 0.0), weight=weights.get(t, 0.0))
        for t in sorted(served.keys() | weights.keys())
    ]


def _shortened(prompt: str) -> str:
    """Beginning and end of a prompt that is over the daemon's limit: refused, it would cost the whole queue its rank.

    A ranker reads far less of it.
    """
    half = _MOST_CHARACTERS // 2
    return prompt if len(prompt) <= _MOST_CHARACTERS else prompt[:half] + prompt[-half:]


def text_of(text: str) -> str:
    """Text that protobuf takes: lone surrogates, which are no Unicode text, are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def set_time(message: Any, seconds: float) -> None:
    """Set a Timestamp or a Duration."""
    whole = math.floor(seconds)
    message.seconds = whole
    message.nanos = min(999_999_999, int((seconds - whole) * 1e9))


def reason_name(value: int) -> str:
    """A daemon's reason as a lower-case word; empty for none, a number for one that this client does not know."""
    return enum_name(prediction_pb2.FallbackReason, value, "FALLBACK_REASON_", "reason_")


def seconds_of(message: Any) -> float:
    """A Timestamp or a Duration in seconds."""
    return float(message.seconds + message.nanos * 1e-9)


def enum_name(kind: Any, value: int, prefix: str, unknown: str | None = None) -> str:
    """An enum's value as a lower-case word without its prefix; empty where it has none.

    A value of a daemon that is newer than this client is a number, behind ``unknown`` or else the prefix.
    """
    if value == 0:
        return ""
    if value not in kind.values():
        return f"{prefix.lower() if unknown is None else unknown}{value}"
    return str(kind.Name(value).removeprefix(prefix).lower())
