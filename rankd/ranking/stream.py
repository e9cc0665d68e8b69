"""The queue of one stream on plain values: what it holds, how large that is, and what its caller was last answered.

Nothing of a message outlives the step that brings it: an item is kept as plain values, since a protobuf item keeps all
of its message in memory. Of a prompt only what may be read of it is kept, until it is scored. A cache finds a prompt by
what its ranker reads, so a shortened prompt is the same prompt to it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field

import numpy as np
from rankd_client.ordering import Objective, Policy
from rankd_client.shape import RequestShape

from rankd.ranking.ranker import Basis
from rankd.types import Answer, Constraints, RankQueue, Reason, TenantService

_LOOK_AGAIN = 4.0
"""A look for new scores took some time: for so many times that, no other one is taken at a queue without changes."""

_ITEM_BYTES = 1500
"""Of an item beside its text: itself, its numbers, its places in columns and in the last answer. Measured."""
_TENANT_BYTES = 300
_SHAPE_BYTES = 500
"""Of a shape beside the letters of its texts: itself, numbers and texts."""


@dataclass(slots=True)
class StreamItem:
    """One item. ``score`` and ``expected`` are those of its prediction, NaN where there is none."""

    request_id: str
    text: str | None
    """What may be read of its prompt; None once it is scored, or where none was sent."""
    arrival: float
    max_tokens: int
    generated: int
    score: float = math.nan
    expected: float = math.nan
    p90: float = math.nan
    version: str | None = None
    deadline: float = math.inf
    overtaken: int = 0
    priority_class: int = 0
    tenant: str = ""
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    running: bool = False
    learned: float = math.nan
    """The learned score of its prediction; NaN where that carries none."""
    shape: RequestShape | None = None
    """What is known of it beside its text; None once it is scored."""
    packed: bytes = b""
    """Its prediction, as whoever keeps the stream encodes it; empty where it has none."""
    last_answer: tuple[int, bool] | None = None
    """What the caller knows: the serving key, and whether it has a prediction."""

    @property
    def size(self) -> int:
        """Bytes of what is of any length."""
        size = sys.getsizeof(self.request_id) + sys.getsizeof(self.text) + len(self.packed) + len(self.tenant)
        return size if self.shape is None else size + _size_of(self.shape)


def _size_of(shape: RequestShape) -> int:
    """Bytes that a shape takes, about."""
    return (
        _SHAPE_BYTES
        + sum(len(t) for t in (shape.last_role, shape.tool_choice, shape.response_format))
        + sum(len(t) for t in (shape.reasoning_effort, shape.step))
    )


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The last answer, to be given again while nothing changes."""

    basis: Basis
    ids: list[str]
    """In serving order."""
    policy: Policy
    patience: float
    objective: Objective
    prompt_cost: float
    reason: Reason
    missing: tuple[Reason, ...]
    """Why items have no score, one each."""
    waiting: bool
    """Some of them may get one yet."""
    timeless: bool
    """Whether the order stays the same as time passes."""


@dataclass(slots=True)
class StreamQueue:
    """The queue of one stream."""

    opened: bool = False
    """Its options were read."""
    model: str = ""
    ranker_version: str = ""
    policy: Policy | None = None
    objective: Objective | None = None
    now: float = -math.inf
    """The latest time that the caller gave: its clock does not run backwards here."""
    items: dict[str, StreamItem] = field(default_factory=dict)
    size: int = 0
    """Bytes of all items."""
    last_answer: LastAnswer | None = None
    look_at: float = 0.0
    """On the loop's clock: when to look again for scores of a queue that did not change."""
    tenant_service: TenantService = field(default_factory=TenantService)
    """What its tenants were served, as far as the caller said."""
    tenant_size: int = 0
    """Bytes of that."""
    _rank_queue: RankQueue | None = None

    @property
    def memory(self) -> int:
        """Bytes that the queue takes in all, about, with the columns and the last answer that are made of it."""
        return self.size + len(self.items) * _ITEM_BYTES + self.tenant_size

    # -- changes -------------------------------------------------------------------------------------------------------

    def put(self, item: StreamItem) -> None:
        """Let an item join, in place of an earlier one of its id."""
        self.drop(item.request_id)
        self.items[item.request_id] = item
        self.size += item.size
        self._changed()

    def drop(self, request_id: str) -> None:
        """Let an item leave, where it is here."""
        item = self.items.pop(request_id, None)
        if item is not None:
            self.size -= item.size
            self._changed()

    def progress(self, request_id: str, generated: int, running: bool | None, overtaken: int | None) -> None:
        """Take an item's progress in, where it is here; None for what stays as it was."""
        item = self.items.get(request_id)
        if item is None:
            return
        running = item.running if running is None else running
        overtaken = item.overtaken if overtaken is None else overtaken
        if generated != item.generated or running != item.running or overtaken != item.overtaken:
            item.generated, item.running, item.overtaken = generated, running, overtaken
            self._changed()

    def update_tenant_service(self, tenant_service: TenantService) -> None:
        """Take in what tenants were served; those not named stay as they were."""
        known = self.tenant_service.served
        self.tenant_size += sum(_TENANT_BYTES + sys.getsizeof(t) for t in tenant_service.served if t not in known)
        known.update(tenant_service.served)
        self.tenant_service.weights.update(tenant_service.weights)
        self.last_answer = None

    def scored(
        self,
        item: StreamItem,
        packed: bytes,
        score: float,
        version: str,
        expected: float,
        p90: float,
        learned: float = math.nan,
    ) -> None:
        """Let an item's new prediction stand for its text and its shape from here on."""
        self.size -= item.size
        item.text, item.shape, item.packed = None, None, packed
        item.score, item.version, item.expected, item.p90, item.learned = score, version, expected, p90, learned
        self.size += item.size
        self._rank_queue = None

    def _changed(self) -> None:
        self.last_answer = self._rank_queue = None

    # -- to be ranked --------------------------------------------------------------------------------------------------

    def rank_queue(self) -> RankQueue:
        """The queue as columns."""
        if self._rank_queue is None:
            self._rank_queue = self._as_columns()
        self._rank_queue.now = self.now
        return self._rank_queue

    def _as_columns(self) -> RankQueue:
        items = list(self.items.values())
        learned = np.array([i.learned for i in items], dtype=np.float64)
        return RankQueue(
            model=self.model,
            now=self.now,
            policy=self.policy,
            ranker_version=self.ranker_version,
            request_ids=[i.request_id for i in items],
            prompts=[i.text for i in items],
            arrival=np.array([i.arrival for i in items], dtype=np.float64),
            max_tokens=np.array([i.max_tokens for i in items], dtype=np.float64),
            generated=np.array([i.generated for i in items], dtype=np.float64),
            score=np.array([i.score for i in items], dtype=np.float64),
            score_versions=[i.version for i in items],
            expected=np.array([i.expected for i in items], dtype=np.float64),
            p90=np.array([i.p90 for i in items], dtype=np.float64),
            echoes=any(i.packed for i in items),
            constraints=Constraints.of(
                deadline=[i.deadline for i in items],
                overtaken=[i.overtaken for i in items],
                priority_class=[i.priority_class for i in items],
                tenant=[i.tenant for i in items],
                prompt_tokens=[i.prompt_tokens for i in items],
                cached_prompt_tokens=[i.cached_prompt_tokens for i in items],
                running=[i.running for i in items],
            ),
            tenant_service=self.tenant_service,
            objective=self.objective,
            learned=None if np.isnan(learned).all() else learned,
            shapes=[i.shape for i in items] if any(i.shape is not None for i in items) else None,
        )

    # -- answers -------------------------------------------------------------------------------------------------------

    def answered(self, answer: Answer, basis: Basis) -> list[tuple[int, int]]:
        """Remember an answer to the queue as it is.

        Returns:
            What the caller does not know yet and is to be sent: place in the order, and index in the answer's columns,
            which is that in ``items``.
        """
        items = list(self.items.values())
        keys, missing = answer.serving_key.tolist(), answer.missing
        indices = answer.order.tolist()
        self.last_answer = LastAnswer(
            basis,
            [items[i].request_id for i in indices],
            answer.policy,
            answer.patience,
            answer.objective,
            answer.prompt_cost,
            answer.reason,
            tuple(missing.values()),
            any(items[i].text is not None for i in missing),
            answer.timeless,
        )
        changed = []
        for place, i in enumerate(indices):
            item, known = items[i], (keys[i], i not in missing)
            if item.last_answer != known:
                item.last_answer = known
                changed.append((place, i))
        return changed

    def delay_look(self, began: float, now: float) -> None:
        """Put the next look for scores off, after an answer that took from ``began`` to ``now`` on the loop's clock."""
        self.look_at = now + _LOOK_AGAIN * (now - began)

    def holds_until(self, basis: Basis) -> float:
        """When the last answer ends to be one to the queue as it is, on the loop's clock.

        Minus infinity where it is none any more, infinity where only a change of the queue ends it. In between, scores
        that items wait for may have come at that time.
        """
        last = self.last_answer
        if last is None or not last.timeless or last.basis != basis:
            return -math.inf
        return self.look_at if last.waiting else math.inf
