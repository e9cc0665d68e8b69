"""One call's queue: its requests, its answers, and its order where there is none. No I/O."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rankd_client._failures import BadAnswerError
from rankd_client._messages import (
    FROM_PROTO,
    MAX_BYTES,
    MAX_ECHO_BYTES,
    MAX_ITEMS,
    OBJECTIVE_FROM_PROTO,
    OBJECTIVE_TO_PROTO,
    TO_PROTO,
    message_of,
    reason_name,
    set_time,
    tenant_services,
    text_of,
)
from rankd_client._types import Item, Ranked, RankedQueue
from rankd_client._validation import check_id, check_numbers, check_texts
from rankd_client.ordering import Objective, OrderColumns, Ordering, Policy, Rules, order_queue
from rankd_client.ordering.fair_shares import NO_TENANTS
from rankd_client.v1 import prediction_pb2, rank_pb2

_FCFS = prediction_pb2.POLICY_FCFS
_SECONDS_PER_ITEM = 5e-6
"""What reading an answer takes on this side."""


class ClientQueue:
    """One call's queue, checked, with what falling back needs."""

    def __init__(
        self,
        items: Iterable[str | Item],
        now: float | None = None,
        *,
        served: Mapping[str, float] = NO_TENANTS,
        weights: Mapping[str, float] = NO_TENANTS,
        backlog: int = 0,
        model: str | None = None,
    ) -> None:
        """Check items before anything is sent.

        Raises:
            ValueError: naming the item and field that the caller must correct.
            TypeError: an item is none, or one of its fields is of another type.
        """
        self.now = time.time() if now is None else now
        self.tenants = tenant_services(served, weights)
        self._served, self._weights = served, weights
        if not 0 <= backlog < 2**32:
            raise ValueError(f"backlog: must be a number of requests, at least 0, not {backlog}")
        self._backlog = backlog
        self._model = None if model is None else text_of(model)
        self.items = [Item(i) if isinstance(i, str) else i for i in items]
        for index, item in enumerate(self.items):
            check_texts(item, index)
        made_up = iter(_made_up_ids(sum(i.request_id is None for i in self.items)))
        self.ids = [next(made_up) if i.request_id is None else i.request_id for i in self.items]
        self.arrival = [self.now if i.arrival is None else i.arrival for i in self.items]
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("request_id: two items have the same; ids must be unique within a queue")
        for index, (item, request_id, arrival) in enumerate(zip(self.items, self.ids, self.arrival, strict=True)):
            check_id(request_id, index)
            try:
                check_numbers(item, arrival, index)
            except TypeError:
                raise TypeError(
                    f"items[{index}]: arrival and deadline must be numbers; max_tokens, generated_tokens, "
                    "prompt_tokens, cached_prompt_tokens, overtaken and priority_class whole ones"
                ) from None

    def requests(
        self, model: str, policy: Policy | None, objective: Objective | None = None
    ) -> list[rank_pb2.RankRequest]:
        """The queue as requests, each within the message limit; one but for very long queues."""
        requests = [self._empty(model, policy, objective)]
        size = echoes = 0
        for item, request_id, arrival in zip(self.items, self.ids, self.arrival, strict=True):
            message = message_of(item, request_id, arrival)
            echo = 0 if item.prediction is None else message.prediction.ByteSize()
            length = message.ByteSize() + 8 - echo
            full = size + length > MAX_BYTES or size + echoes + length + echo > MAX_ECHO_BYTES
            if requests[-1].items and (full or len(requests[-1].items) >= MAX_ITEMS):
                requests.append(self._empty(model, policy, objective))
                size = echoes = 0
            requests[-1].items.append(message)
            size += length
            echoes += echo
        return requests

    def _empty(self, model: str, policy: Policy | None, objective: Objective | None) -> rank_pb2.RankRequest:
        model = model if self._model is None else self._model
        request = rank_pb2.RankRequest(model=model, tenants=self.tenants, backlog_request_count=self._backlog)
        set_time(request.now, self.now)
        if policy is not None:
            request.policy = TO_PROTO[policy]
        if objective is not None:
            request.objective = OBJECTIVE_TO_PROTO[objective]
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
            keys = dict(zip(self.ids, self._arrival_order().serving_key.tolist(), strict=True))
        if len(responses) > 1:
            rows.sort(key=lambda r: self._rank_of(r[0], place, keys))
        why = {id(r): reason_name(r.reason) if r.policy == _FCFS else "" for r in responses}
        ranked = tuple(
            Ranked(
                position,
                item.request_id,
                place[item.request_id],
                keys[item.request_id] if keys else item.serving_key,
                finite(item.prediction) if item.HasField("prediction") else None,
                reason_name(item.reason) if item.reason else why[id(response)],
                item.needs_prompt,
            )
            for position, (item, response) in enumerate(rows, 1)
        )
        objective = OBJECTIVE_FROM_PROTO.get(first.objective)
        return RankedQueue(
            ranked,
            policy,
            reason_name(first.reason),
            first.ranker_version,
            objective=objective,
            prompt_token_cost=first.prompt_token_cost,
        )

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
        ordering = self._arrival_order()
        ranked = tuple(
            Ranked(position, self.ids[i], i, int(ordering.serving_key[i]), self.items[i].prediction, reason)
            for position, i in enumerate(ordering.order.tolist(), 1)
        )
        return RankedQueue(ranked, Policy.FCFS, reason, "", failed=True)

    def _arrival_order(self) -> Ordering:
        return arrival_order(
            self.ids,
            self.arrival,
            running=[i.running for i in self.items],
            classes=[i.priority_class for i in self.items],
            tenants=[i.tenant for i in self.items],
            prompt_tokens=[i.prompt_tokens for i in self.items],
            served=self._served,
            weights=self._weights,
        )


def arrival_order(
    ids: Sequence[str],
    arrival: Sequence[float],
    *,
    running: Sequence[bool],
    classes: Sequence[int],
    tenants: Sequence[str],
    prompt_tokens: Sequence[int],
    served: Mapping[str, float] = NO_TENANTS,
    weights: Mapping[str, float] = NO_TENANTS,
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


def finite(prediction: prediction_pb2.Prediction) -> prediction_pb2.Prediction:
    """A prediction as the daemon gave it.

    Raises:
        BadAnswerError: it says something that is no number.
    """
    numbers = (prediction.score, prediction.expected_token_count, prediction.learned_score)
    if not all(map(math.isfinite, numbers)):
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


def _made_up_ids(count: int) -> list[str]:
    """Ids that say which item is meant: a random name of the queue, and the item's number in it, from 1.

    They rise: of requests that arrived together, the one passed in first goes first.
    """
    name, digits = os.urandom(8).hex(), len(str(count))
    return [f"{name}-{number:0{digits}}" for number in range(1, count + 1)]
