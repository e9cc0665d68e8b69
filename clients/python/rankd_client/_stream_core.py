"""A stream's queue on the client's side: what to tell the daemon of it, and what it answers. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rankd_client._backoff import Backoff
from rankd_client._client_queue import ClientQueue, arrival_order, finite
from rankd_client._failures import BadAnswerError, explain, readable
from rankd_client._messages import (
    MAX_BYTES,
    MAX_ITEMS,
    OBJECTIVE_TO_PROTO,
    TO_PROTO,
    message_of,
    reason_name,
    set_time,
    tenant_services,
)
from rankd_client._stats import ClientStats, note
from rankd_client._types import Item, Progress
from rankd_client.ordering import Objective, Policy
from rankd_client.ordering.fair_shares import NO_TENANTS
from rankd_client.v1 import prediction_pb2, rank_pb2

_HUNG = 5.0
"""Seconds without an answer after which a stream is given up. A late answer alone is no reason to send all again."""


@dataclass(slots=True)
class _QueuedItem:
    """A request of the queue, prompt included; ``joined`` is the message that it arrived with."""

    item: rank_pb2.RankItem
    arrival: float
    joined: int
    wants_prompt: bool = False

    def progressed(self, progress: Progress) -> None:
        """Note how far it is, for a daemon that is told everything anew."""
        self.item.generated_token_count = progress.tokens
        if progress.running is not None:
            self.item.running = progress.running
        if progress.overtaken is not None:
            self.item.overtaken_count = progress.overtaken

    def message(self) -> rank_pb2.RankItem:
        """What to send: the prediction where there is one, unless the daemon could not use it."""
        if not self.item.HasField("prediction") or self.wants_prompt:
            return self.item
        lean = rank_pb2.RankItem(
            request_id=self.item.request_id,
            prediction=self.item.prediction,
            arrival_time=self.item.arrival_time,
            max_token_count=self.item.max_token_count,
            generated_token_count=self.item.generated_token_count,
            prompt_token_count=self.item.prompt_token_count,
            cached_prompt_token_count=self.item.cached_prompt_token_count,
            deadline=self.item.deadline if self.item.HasField("deadline") else None,
            overtaken_count=self.item.overtaken_count,
            priority_class=self.item.priority_class,
            tenant=self.item.tenant,
            running=self.item.running,
        )
        return lean if self.item.HasField("prompt") else self.item


class StreamCore:
    """The queue, what to tell the daemon of it, and what it answers. No I/O."""

    def __init__(self, stats: ClientStats, model: str, policy: Policy | None, objective: Objective | None) -> None:
        """Begin with an empty queue."""
        self.entries: dict[str, _QueuedItem] = {}
        self.reason = ""
        self.sequence = 0
        self._stats, self._backoff, self._retry_at, self._heard = stats, Backoff(0.1, 1.0), 0.0, 0.0
        self._tenants: dict[str, rank_pb2.TenantService] = {}
        self._options = rank_pb2.RankStreamOptions(
            model=model,
            policy=TO_PROTO[policy] if policy else None,
            objective=OBJECTIVE_TO_PROTO[objective] if objective else None,
        )

    def change(
        self,
        arrived: Iterable[Item],
        progressed: Mapping[str, int | Progress],
        gone: Iterable[str],
        served: Mapping[str, float] = NO_TENANTS,
        weights: Mapping[str, float] = NO_TENANTS,
    ) -> rank_pb2.RankStreamRequest:
        """Change the queue; gives the same change for the daemon.

        Raises:
            ValueError: naming the field that the caller must correct; the queue is as before.
        """
        items, left = list(arrived), list(gone)
        if any(i.request_id is None for i in items):
            raise ValueError("arrived: every item needs a request_id, to know it again in the order")
        steps = {i: p if isinstance(p, Progress) else Progress(p) for i, p in progressed.items()}
        if any(not (0 <= p.tokens < 2**32 and 0 <= (p.overtaken or 0) < 2**32) for p in steps.values()):
            raise ValueError("progressed: counts must be in 0 to 2**32 - 1")
        new = ClientQueue(items)
        services = tenant_services(served, weights)
        # Made before anything is changed: an impossible field leaves all as it was.
        messages = [message_of(i, r, a) for i, r, a in zip(new.items, new.ids, new.arrival, strict=True)]
        delta = rank_pb2.RankStreamRequest(gone_request_ids=[i for i in left if i in self.entries], tenants=services)
        # What is said of a tenant replaces what was said before, a weight left out included.
        self._tenants |= {service.tenant: service for service in services}
        for request_id in left:
            self.entries.pop(request_id, None)
        for request_id, arrival, message in zip(new.ids, new.arrival, messages, strict=True):
            self.entries[request_id] = _QueuedItem(message, arrival, self.sequence + 1)
        for request_id, progress in steps.items():
            if (entry := self.entries.get(request_id)) is not None:
                entry.progressed(progress)
                delta.progressed.add(
                    request_id=request_id,
                    generated_token_count=progress.tokens,
                    running=progress.running,
                    overtaken_count=progress.overtaken,
                )
        return delta

    def messages(
        self, delta: rank_pb2.RankStreamRequest, max_wait: float, *, opening: bool
    ) -> list[rank_pb2.RankStreamRequest]:
        """What to send: the change, or all of the queue where the stream is new. Each within the message limit."""
        if opening:
            delta = rank_pb2.RankStreamRequest(options=self._options, tenants=self._tenants.values())
            self._heard = time.monotonic()
        out, size = [delta], delta.ByteSize()
        for entry in self.entries.values():
            if not (opening or entry.joined > self.sequence or entry.wants_prompt):
                continue
            message = entry.message()
            entry.wants_prompt = False
            if size + message.ByteSize() + 8 > MAX_BYTES or len(out[-1].arrived) >= MAX_ITEMS:
                out.append(rank_pb2.RankStreamRequest())
                size = 0
            out[-1].arrived.append(message)
            size += message.ByteSize() + 8
        now = time.time()
        for request in out:
            self.sequence += 1
            request.sequence = self.sequence
            set_time(request.now, now)
        out[-1].max_wait.FromNanoseconds(round(max_wait * 1e9))
        return out

    def take(self, answer: Any) -> list[str] | None:
        """Read an answer: the order, or None where it is that of an earlier message.

        Raises:
            BadAnswerError: it does not hold the queue.
            Exception: what came instead of an answer.
        """
        if isinstance(answer, BaseException):
            raise answer
        self._heard = time.monotonic()
        for ranked in readable(answer).changed_items:
            entry = self.entries.get(ranked.request_id)
            if entry is None or entry.joined > answer.sequence:
                continue  # it is gone, or another request has its id by now
            if ranked.HasField("prediction"):
                entry.item.prediction.CopyFrom(finite(ranked.prediction))
            # Asked for what was sent without it: the ranker changed.
            entry.wants_prompt = ranked.needs_prompt and entry.item.HasField("prompt")
        if answer.sequence < self.sequence:
            return None
        order = list(answer.request_ids)
        if answer.sequence != self.sequence or len(order) != len(self.entries) or set(order) != self.entries.keys():
            raise BadAnswerError("the daemon's answer does not hold every request exactly once")
        self._backoff.reset()
        self.reason = reason_name(answer.reason)
        note(self._stats, self.reason)
        return order

    def may_open(self) -> bool:
        """Whether to try a new stream now: after a failure not at once, the whole queue goes along."""
        return time.monotonic() >= self._retry_at

    def failed(self, error: BaseException) -> tuple[list[str], bool]:
        """The queue in arrival order, and whether to give the stream up."""
        self.reason, text = explain(error)
        late = isinstance(error, TimeoutError) and time.monotonic() - self._heard < _HUNG
        if not late:
            self._retry_at = time.monotonic() + self._backoff.pause()
        return self.local(text), not late

    def local(self, error: str = "") -> list[str]:
        """The queue in arrival order, by the rules that rest on no prediction; ``reason`` stays what it was."""
        note(self._stats, self.reason, error)
        ids, entries = list(self.entries), self.entries.values()
        ordering = arrival_order(
            ids,
            [e.arrival for e in entries],
            running=[e.item.running for e in entries],
            classes=[e.item.priority_class for e in entries],
            tenants=[e.item.tenant for e in entries],
            prompt_tokens=[e.item.prompt_token_count for e in entries],
            served={t: s.served_token_count for t, s in self._tenants.items()},
            weights={t: s.weight for t, s in self._tenants.items() if s.weight},
        )
        return [ids[i] for i in ordering.order.tolist()]

    def prediction(self, request_id: str) -> prediction_pb2.Prediction | None:
        """The prediction of a request in the queue."""
        entry = self.entries.get(request_id)
        return entry.item.prediction if entry is not None and entry.item.HasField("prediction") else None
