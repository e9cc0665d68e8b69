"""The queue of one stream: what it holds, and what its caller was told of it.

Nothing of a message outlives the step that brings it: an item is kept as plain values, since a protobuf item keeps all
of its message in memory. Of a prompt only what may be read of it is kept, until it is scored. A cache finds a prompt by
what its ranker reads, so a shortened prompt is the same prompt to it.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from rankd_client.ordering import Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.ranking.ranker import Basis
from rankd.transport.convert.answer import item_filler, patience_of
from rankd.transport.convert.request import POLICY_TO_PROTO, REASON_TO_PROTO, RequestColumns, rest_of, timestamp
from rankd.transport.signing import PredictionSigner
from rankd.transport.time_slices import TimeSlice
from rankd.types import Answer, PromptReach, RankQueue, Reason, TenantService

_AT_ONCE = 32
"""Items between two looks at the clock."""


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
    running: bool = False
    packed: bytes = b""
    """Its prediction, as it goes over the wire."""
    last_answer: tuple[int, bool] | None = None
    """What the caller knows: the serving key, and whether it has a prediction."""

    def progress(self, message: rank_pb2.RankStreamProgress) -> bool:
        """Take progress in; whether that changed anything."""
        before = (self.generated, self.running, self.overtaken)
        self.generated = message.generated_token_count
        if message.HasField("running"):
            self.running = message.running
        if message.HasField("overtaken_count"):
            self.overtaken = message.overtaken_count
        return before != (self.generated, self.running, self.overtaken)

    @property
    def prediction(self) -> prediction_pb2.Prediction:
        """Its prediction."""
        return prediction_pb2.Prediction.FromString(self.packed)

    @property
    def size(self) -> int:
        """Bytes of what is of any length."""
        return sys.getsizeof(self.request_id) + sys.getsizeof(self.text) + len(self.packed) + len(self.tenant)


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The last answer, to be given again while nothing changes."""

    basis: Basis
    ids: list[str]
    policy: Policy
    patience: float
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
    now: float = -math.inf
    """The latest time that the caller gave: its clock does not run backwards here."""
    items: dict[str, StreamItem] = field(default_factory=dict)
    size: int = 0
    """Bytes of all items."""
    last_answer: LastAnswer | None = None
    look_at: float = 0.0
    """On the loop's clock: when to look again for scores of a queue that did not change."""
    shares: TenantService = field(default_factory=TenantService)
    """What its tenants were served, as told so far."""
    _queue: RankQueue | None = None

    async def apply(
        self, request: rank_pb2.RankStreamRequest, arrived: RequestColumns, reach: PromptReach, time_slice: TimeSlice
    ) -> None:
        """Take a delta in: those who left, those who arrived, progress.

        Args:
            request: the delta.
            arrived: its arrivals by column, validated.
            reach: how much of a prompt to keep.
            time_slice: to work in.
        """
        for request_id in request.gone_request_ids:
            self._drop(request_id)
        for index, message in enumerate(request.arrived):
            if index % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            text = arrived.prompts[index]
            self._put(
                StreamItem(
                    arrived.request_ids[index],
                    None if text is None else reach.cut(text),
                    arrived.arrival[index],
                    arrived.max_tokens[index],
                    arrived.generated[index],
                    arrived.score[index],
                    arrived.expected[index],
                    arrived.p90[index],
                    arrived.versions[index],
                    arrived.rest.deadline[index],
                    arrived.rest.overtaken[index],
                    arrived.rest.priority_class[index],
                    arrived.rest.tenant[index],
                    arrived.rest.prompt_tokens[index],
                    arrived.rest.running[index],
                    message.prediction.SerializeToString() if message.HasField("prediction") else b"",
                )
            )
        for progress in request.progressed:
            item = self.items.get(progress.request_id)
            if item is not None and item.progress(progress):
                self._changed()

    def _put(self, item: StreamItem) -> None:
        self._drop(item.request_id)
        self.items[item.request_id] = item
        self.size += item.size
        self._changed()

    def _drop(self, request_id: str) -> None:
        item = self.items.pop(request_id, None)
        if item is not None:
            self.size -= item.size
            self._changed()

    def _changed(self) -> None:
        self.last_answer = self._queue = None

    def share(self, shares: TenantService) -> None:
        """Take in what tenants were served; those not named stay as they were."""
        self.shares.served.update(shares.served)
        self.shares.weights.update(shares.weights)
        self.last_answer = None

    def queue(self) -> RankQueue:
        """The queue as columns."""
        if self._queue is None:
            items = list(self.items.values())
            self._queue = RankQueue(
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
                rest=rest_of(
                    [i.deadline for i in items],
                    [i.overtaken for i in items],
                    [i.priority_class for i in items],
                    [i.tenant for i in items],
                    [i.prompt_tokens for i in items],
                    [i.running for i in items],
                ),
                shares=self.shares,
            )
        self._queue.now = self.now
        return self._queue

    async def response(
        self, answer: Answer, basis: Basis, sequence: int, time_slice: TimeSlice, signer: PredictionSigner
    ) -> rank_pb2.RankStreamResponse:
        """Put an answer together, and remember what it tells."""
        items = list(self.items.values())
        keys, missing = answer.serving_key.tolist(), answer.missing
        places = answer.order.tolist()
        self.last_answer = LastAnswer(
            basis,
            [items[p].request_id for p in places],
            answer.policy,
            answer.patience,
            answer.reason,
            tuple(missing.values()),
            any(items[p].text is not None for p in missing),
            answer.timeless,
        )
        response = self.again(sequence, answer.ranker_version)
        fill = item_filler(response.changed_items, answer, items, timestamp(time.time()))
        changed = [(place, p) for place, p in enumerate(places) if items[p].last_answer != (keys[p], p not in missing)]
        for count, (place, position) in enumerate(changed):
            if count % _AT_ONCE == 0 and time_slice.over:
                await time_slice.next()
            ranked = fill(position)
            ranked.index = place
            signer.sign(ranked, self.model, new=bool(answer.fresh[position]) or position in answer.shadow_scores)
            items[position].last_answer = (keys[position], position not in missing)
            if answer.fresh[position]:
                self._scored(items[position], ranked.prediction)
        return response

    def _scored(self, item: StreamItem, prediction: prediction_pb2.Prediction) -> None:
        """Let a prediction stand for the text from here on."""
        self.size -= item.size
        item.text, item.packed = None, prediction.SerializeToString()
        item.score, item.version = prediction.score, prediction.ranker_version
        item.expected = prediction.expected_token_count if prediction.HasField("expected_token_count") else math.nan
        item.p90 = prediction.p90_token_count if prediction.HasField("p90_token_count") else math.nan
        self.size += item.size
        self._queue = None

    def again(self, sequence: int, ranker_version: str) -> rank_pb2.RankStreamResponse:
        """What was told last, without the items that changed then."""
        last_answer = self.last_answer
        assert last_answer is not None
        return rank_pb2.RankStreamResponse(
            sequence=sequence,
            request_ids=last_answer.ids,
            policy=POLICY_TO_PROTO[last_answer.policy],
            reason=REASON_TO_PROTO[last_answer.reason],
            ranker_version=ranker_version,
            unscored_count=len(last_answer.missing),
            patience_per_token=patience_of(last_answer.policy, last_answer.patience),
        )
