"""What the sync and the async client share: requests, answers, splitting, falling back. No I/O."""

from __future__ import annotations

import math
import operator
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import grpc
import numpy as np

from rankd_client._failures import BadAnswerError, reason_name
from rankd_client.ordering import OrderColumns, Ordering, Policy, Rules, order_queue
from rankd_client.types import (
    MAX_ID_BYTES,
    ClientStats,
    Item,
    Ranked,
    RankedQueue,
    TlsConfig,
)
from rankd_client.v1 import prediction_pb2, rank_pb2

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
NOBODY: Mapping[str, float] = MappingProxyType({})

TO_PROTO = {
    Policy.FCFS: prediction_pb2.POLICY_FCFS,
    Policy.SCORE: prediction_pb2.POLICY_SCORE,
    Policy.DUE: prediction_pb2.POLICY_DUE,
    Policy.AGED: prediction_pb2.POLICY_AGED,
    Policy.BOOST: prediction_pb2.POLICY_BOOST,
}
FROM_PROTO = {v: k for k, v in TO_PROTO.items()}
_FCFS = prediction_pb2.POLICY_FCFS
LATEST = 253402300799.0
_LONGEST_WAIT = 1e7
"""Seconds; grpc gives up at once where it cannot count them."""
_SECONDS_PER_ITEM = 5e-6
"""What reading an answer takes on this side."""
_MOST_CHARACTERS = 250_000
"""Of a prompt: at most 1 MB of UTF-8, within the daemon's default limit of 1 MiB."""


def credentials(tls: TlsConfig) -> grpc.ChannelCredentials:
    """Channel credentials of a TLS configuration."""
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate)


def seconds(value: float, field: str = "timeout") -> float:
    """A wait within what grpc and Python can count: at least 0, at most some months.

    Raises:
        ValueError: it is no number.
    """
    if math.isnan(value):
        raise ValueError(f"{field}: must be a number of seconds, not nan")
    return min(max(0.0, value), _LONGEST_WAIT)


class ClientQueue:
    """One call's queue, checked, with what falling back needs."""

    def __init__(
        self,
        items: Iterable[str | Item],
        now: float | None = None,
        *,
        served: Mapping[str, float] = NOBODY,
        weights: Mapping[str, float] = NOBODY,
        backlog: int = 0,
    ) -> None:
        """Check items before anything is sent.

        Raises:
            ValueError: naming the item and field that the caller must correct.
            TypeError: an item is none, or one of its fields is of another type.
        """
        self.now = time.time() if now is None else now
        self.shares = shares_of(served, weights)
        self._served, self._weights = served, weights
        if not 0 <= backlog < 2**32:
            raise ValueError(f"backlog: must be a number of requests, at least 0, not {backlog}")
        self._backlog = backlog
        self.items = [Item(i) if isinstance(i, str) else i for i in items]
        for index, item in enumerate(self.items):
            _check_texts(item, index)
        made_up = iter(_made_up_ids(sum(i.request_id is None for i in self.items)))
        self.ids = [next(made_up) if i.request_id is None else i.request_id for i in self.items]
        self.arrival = [self.now if i.arrival is None else i.arrival for i in self.items]
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("request_id: two items have the same; ids must be unique within a queue")
        for index, (item, request_id, arrival) in enumerate(zip(self.items, self.ids, self.arrival, strict=True)):
            _check_id(request_id, index)
            try:
                _check_numbers(item, arrival, index)
            except TypeError:
                raise TypeError(
                    f"items[{index}]: arrival and deadline must be numbers; max_tokens, generated_tokens, "
                    "prompt_tokens, overtaken and priority_class whole ones"
                ) from None

    def requests(self, model: str, policy: Policy | None) -> list[rank_pb2.RankRequest]:
        """The queue as requests, each within the message limit; one but for very long queues."""
        requests = [self._empty(model, policy)]
        size = 0
        for item, request_id, arrival in zip(self.items, self.ids, self.arrival, strict=True):
            message = message_of(item, request_id, arrival)
            length = message.ByteSize() + 8
            if requests[-1].items and (size + length > MAX_BYTES or len(requests[-1].items) >= MAX_ITEMS):
                requests.append(self._empty(model, policy))
                size = 0
            requests[-1].items.append(message)
            size += length
        return requests

    def _empty(self, model: str, policy: Policy | None) -> rank_pb2.RankRequest:
        request = rank_pb2.RankRequest(model=model, tenants=self.shares, backlog_request_count=self._backlog)
        set_time(request.now, self.now)
        if policy is not None:
            request.policy = TO_PROTO[policy]
        return request

    def answer(self, responses: Sequence[rank_pb2.RankResponse]) -> RankedQueue:
        """Read the daemon's answers; several are merged by serving key, then arrival, then id.

        Raises:
            BadAnswerError: they do not hold every request exactly once, or what they hold makes no order.
        """
        place = {request_id: index for index, request_id in enumerate(self.ids)}
        rows = [(item, response) for response in responses for item in response.items]
        if len(rows) != len(self.ids) or {item.request_id for item, _ in rows} != place.keys():
            raise BadAnswerError("the daemon's answer does not hold every request exactly once")
        policy, first = _common_policy(responses)
        keys = None
        if any(FROM_PROTO.get(r.policy) is not policy for r in responses):
            # Due times and arrival times do not mix into one order: all of it goes by arrival.
            keys = dict(zip(self.ids, self._by_arrival().serving_key.tolist(), strict=True))
        if len(responses) > 1:
            rows.sort(key=lambda r: self._rank_of(r[0], place, keys))
        why = {id(r): reason_name(r.reason) if r.policy == _FCFS else "" for r in responses}
        ranked = tuple(
            Ranked(
                position,
                item.request_id,
                place[item.request_id],
                keys[item.request_id] if keys else item.serving_key,
                checked(item.prediction) if item.HasField("prediction") else None,
                reason_name(item.reason) if item.reason else why[id(response)],
                item.needs_prompt,
            )
            for position, (item, response) in enumerate(rows, 1)
        )
        return RankedQueue(ranked, policy, reason_name(first.reason), first.ranker_version)

    def _rank_of(
        self, item: rank_pb2.RankedItem, place: dict[str, int], keys: dict[str, int] | None
    ) -> tuple[int, float, bytes]:
        request_id = item.request_id
        key = keys[request_id] if keys else item.serving_key
        return key, self.arrival[place[request_id]], request_id.encode()

    def wait(self, left: float) -> float:
        """How long to wait for an answer where ``left`` seconds remain: in time to read it, or to do without."""
        return max(0.001, left - min(_SECONDS_PER_ITEM * len(self.ids), left / 4))

    def fallback(self, reason: str) -> RankedQueue:
        """The queue in arrival order, by the rules that rest on no prediction."""
        ordering = self._by_arrival()
        ranked = tuple(
            Ranked(position, self.ids[i], i, int(ordering.serving_key[i]), self.items[i].prediction, reason)
            for position, i in enumerate(ordering.order.tolist(), 1)
        )
        return RankedQueue(ranked, Policy.FCFS, reason, "", failed=True)

    def _by_arrival(self) -> Ordering:
        return by_arrival(
            self.ids,
            self.arrival,
            running=[i.running for i in self.items],
            classes=[i.priority_class for i in self.items],
            tenants=[i.tenant for i in self.items],
            prompt_tokens=[i.prompt_tokens for i in self.items],
            served=self._served,
            weights=self._weights,
        )


def shares_of(served: Mapping[str, float], weights: Mapping[str, float]) -> list[rank_pb2.TenantService]:
    """What tenants were served, as messages.

    Raises:
        ValueError: a number cannot be.
    """
    for name, numbers, least in (("served", served, "at least 0"), ("weights", weights, "above 0")):
        for tenant, value in numbers.items():
            if len(_utf8(tenant, name)) > MAX_ID_BYTES:
                raise ValueError(f"{name}: a tenant's name is over {MAX_ID_BYTES} bytes")
            if not 0 <= value < math.inf or (name == "weights" and not value):
                raise ValueError(f"{name}: must be {least} and finite, not {value!r}")
    return [
        rank_pb2.TenantService(tenant=t, served_token_count=served.get(t, 0.0), weight=weights.get(t, 0.0))
        for t in sorted(served.keys() | weights.keys())
    ]


def _check_texts(item: Item, index: int) -> None:
    if not isinstance(item, Item) or not (item.prompt is None or isinstance(item.prompt, str)):
        raise TypeError(f"items[{index}]: must be a string or an Item whose prompt is a string or None")
    if not (item.request_id is None or isinstance(item.request_id, str)):
        kind = type(item.request_id).__name__
        raise TypeError(f"items[{index}].request_id: must be a string or None, not {kind}")
    if not isinstance(item.tenant, str):
        raise TypeError(f"items[{index}].tenant: must be a string, not {type(item.tenant).__name__}")
    if len(_utf8(item.tenant, f"items[{index}].tenant")) > MAX_ID_BYTES:
        raise ValueError(f"items[{index}].tenant: is over {MAX_ID_BYTES} bytes")


def _check_id(request_id: str, index: int) -> None:
    if not request_id:
        raise ValueError(f"items[{index}].request_id: must not be empty; leave it out to get one made up")
    if len(_utf8(request_id, f"items[{index}].request_id")) > MAX_ID_BYTES:
        raise ValueError(f"items[{index}].request_id: is over {MAX_ID_BYTES} bytes")


def _check_numbers(item: Item, arrival: float, index: int) -> None:
    if not (math.isfinite(arrival) and 0 <= arrival <= LATEST):
        raise ValueError(f"items[{index}].arrival: must be seconds since the epoch, not {arrival!r}")
    for name in ("max_tokens", "generated_tokens", "prompt_tokens", "overtaken"):
        if not 0 <= operator.index(getattr(item, name)) < 2**32:
            raise ValueError(f"items[{index}].{name}: must be in 0 to 2**32 - 1")
    if not -(2**31) <= operator.index(item.priority_class) < 2**31:
        raise ValueError(f"items[{index}].priority_class: must be in -2**31 to 2**31 - 1")
    if item.deadline is not None and not (math.isfinite(item.deadline) and 0 <= item.deadline <= LATEST):
        raise ValueError(f"items[{index}].deadline: must be seconds since the epoch, not {item.deadline!r}")


def by_arrival(
    ids: Sequence[str],
    arrival: Sequence[float],
    *,
    running: Sequence[bool],
    classes: Sequence[int],
    tenants: Sequence[str],
    prompt_tokens: Sequence[int],
    served: Mapping[str, float] = NOBODY,
    weights: Mapping[str, float] = NOBODY,
) -> Ordering:
    """First come, first served, as the daemon does it by default: running first, then classes, then fair tenants."""
    nothing = np.full(len(ids), np.nan)
    queue = OrderColumns(
        ids,
        np.array(arrival, dtype=np.float64),
        nothing,
        nothing,
        running=np.array(running, dtype=np.bool_),
        priority_class=np.array(classes, dtype=np.int64),
        tenant=tenants,
        prompt_tokens=np.array(prompt_tokens, dtype=np.float64),
    )
    return order_queue(queue, Rules(Policy.FCFS), served=served, weights=weights)


def checked(prediction: prediction_pb2.Prediction) -> prediction_pb2.Prediction:
    """A prediction as the daemon gave it.

    Raises:
        BadAnswerError: it says something that is no number.
    """
    if not (math.isfinite(prediction.score) and math.isfinite(prediction.expected_token_count)):
        raise BadAnswerError("the daemon's answer holds a prediction that is not finite")
    return prediction


def _common_policy(responses: Sequence[rank_pb2.RankResponse]) -> tuple[Policy, rank_pb2.RankResponse]:
    """The policy that the parts of an answer follow together, and the part that speaks for all.

    Parts can differ, as when a deadline came between them: where one is in arrival order, all are.
    """
    first = next((r for r in responses if r.reason), responses[0])
    policies = {FROM_PROTO.get(r.policy) for r in responses}
    policy = Policy.FCFS if Policy.FCFS in policies else FROM_PROTO.get(first.policy)
    if policy is None or None in policies:
        raise BadAnswerError("the daemon answered with a policy that this client does not know")
    if policy is not Policy.FCFS and len({(r.policy, r.ranker_version) for r in responses}) > 1:
        # A new ranker or policy came into service between the parts; their keys are not comparable.
        raise BadAnswerError("the daemon answered the parts of one queue by different rankers or policies")
    return policy, first


def count(stats: ClientStats, queue: RankedQueue, error: str = "") -> RankedQueue:
    """Note how a call went; gives the queue back."""
    note(stats, queue.reason, error)
    return queue


def note(stats: ClientStats, reason: str, error: str = "") -> None:
    """Note how a call went."""
    with stats.lock:
        stats.calls += 1
        if reason:
            stats.fallbacks[reason] += 1
        else:
            stats.ranked += 1
        if error:
            stats.last_error = error


def message_of(item: Item, request_id: str, arrival: float) -> rank_pb2.RankItem:
    message = rank_pb2.RankItem(
        request_id=request_id,
        max_token_count=item.max_tokens,
        generated_token_count=item.generated_tokens,
        prompt_token_count=item.prompt_tokens,
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
    set_time(message.arrival_time, arrival)
    return message


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


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Replaced, it would not be the id that comes back.
        raise ValueError(f"{field}: must be Unicode text, without lone surrogates") from None


def _made_up_ids(count: int) -> list[str]:
    """Random ids that rise: of requests that arrived together, the one passed in first goes first."""
    noise = os.urandom(16 * count).hex()
    return sorted(noise[at : at + 32] for at in range(0, len(noise), 32))


def set_time(message: Any, seconds: float) -> None:
    """Set a Timestamp or a Duration."""
    whole = math.floor(seconds)
    message.seconds = whole
    message.nanos = min(999_999_999, int((seconds - whole) * 1e9))
