"""Requests under way: what is known of them beside transformers' own state, and the order of those that wait."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rankd_client import Completed, Finish
from rankd_client.ordering import OrderColumns, Policy, Rules, WaitingQueue, order_queue
from rankd_client.v1.prediction_pb2 import Prediction


@dataclass(slots=True)
class RequestRecord:
    """A request from its arrival to its end, however often it is preempted. Times in seconds since the epoch."""

    engine_id: str
    """Unique in this process, as request ids of several managers are not."""
    ranked_id: str
    arrival: float
    max_tokens: int
    prompt_tokens: int
    prediction: Prediction | None = None
    started_at: float | None = None
    """When it first ran."""
    cached_tokens: int = 0
    """Of its prompt, that were not read then."""
    preempted: bool = False


def produced(state: Any) -> int:
    """Tokens of a request's answer so far; what a preempted one had is part of its prompt."""
    kept = state._true_initial_tokens  # noqa: SLF001 - checked in compatibility
    return len(state.generated_tokens) + (len(state.initial_tokens) - kept if kept else 0)


def arrival_of(state: Any) -> float:
    """When transformers was given a request, seconds since the epoch."""
    return time.time() - (time.perf_counter() - float(state.created_time))


def ending(state: Any) -> tuple[Finish, bool] | None:
    """How a request ended and whether its length is complete; None for one that was preempted."""
    tokens, eos = state.generated_tokens, state._eos_token_ids  # noqa: SLF001 - checked in compatibility
    if tokens and tokens[-1] in eos:
        return "stop", False
    if len(tokens) >= state._new_tokens_limit:  # noqa: SLF001 - checked in compatibility
        return "length", not eos  # nothing but the limit could end it
    return ("aborted", False) if state.status.name == "FAILED" else None


def completed(record: RequestRecord, state: Any, finish: Finish, *, whole: bool = False) -> Completed:
    """The report of a request."""
    return Completed(
        record.ranked_id,
        record.prediction,
        produced(state),
        finish_reason=finish,
        length_is_complete=whole,
        arrival=record.arrival,
        queue_seconds=None if record.started_at is None else max(0.0, record.started_at - record.arrival),
        total_seconds=None if finish == "in_progress" else max(0.0, time.time() - record.arrival),
        prompt_tokens=record.prompt_tokens,
        cached_prompt_tokens=record.cached_tokens,
    )


class WaitingRequests:
    """Those that wait, by request id, in the order of the rules."""

    def __init__(self, rules: Rules) -> None:
        """Start empty."""
        self._queue = WaitingQueue(rules)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def rules(self) -> Rules:
        """The rules in force; may be replaced at any time."""
        return self._queue.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._queue.rules = rules

    @property
    def by_arrival(self) -> bool:
        """Whether the order is that of arrival, which is transformers' own."""
        return self._queue.rules.policy is Policy.FCFS

    def add(self, request_id: str, record: RequestRecord, state: Any, cached: int) -> None:
        """Let a request wait, so many tokens of which the cache holds."""
        prior = self.rules.prior_expected
        self._queue.add(
            request_id,
            record.arrival,
            # As an average request until its score comes, and not as one of unknown length: see WaitingQueue.
            expected=math.nan if prior is None else prior,
            generated=float(produced(state)),
            max_tokens=float(record.max_tokens),
            # Who was preempted has its answer to read, too.
            prompt_tokens=float(len(state.initial_tokens)),
            cached_prompt_tokens=float(cached),
        )
        if record.prediction is not None:
            self.predict(request_id, record.prediction)

    def predict(self, request_id: str, prediction: Prediction) -> None:
        """Order a request by its prediction, if it waits."""
        if request_id in self._queue:
            score, expected, p90, learned = _lengths(prediction)
            self._queue.predict(request_id, score=score, expected=expected, p90=p90, learned=learned)

    def cache(self, request_id: str, cached: int) -> None:
        """Say anew how much of a request the cache holds, if it waits."""
        if request_id in self._queue:
            self._queue.cache(request_id, float(cached))

    def first(self, most: int, now: float) -> list[str]:
        """The ids of who goes next, at most so many."""
        return self._queue.first(now, most)

    def left(self, request_id: str) -> None:
        """A request was started."""
        if request_id in self._queue:
            self._queue.serve(request_id)

    def remove(self, request_id: str) -> None:
        """Take a request out that was not started."""
        if request_id in self._queue:
            self._queue.remove(request_id)

    def tokens(self) -> float:
        """That are expected of what waits."""
        return float(self._queue.lengths().sum())


def running_keys(states: Sequence[Any], records: Sequence[RequestRecord | None], rules: Rules, now: float) -> list[int]:
    """Keys of running requests, [n]: the one of the highest is preempted first."""
    lengths = [_lengths(r.prediction if r else None) for r in records]
    score, expected, p90, learned = np.array(lengths, dtype=np.float64).T if lengths else np.empty((4, 0))
    queue = OrderColumns(
        request_ids=[s.request_id for s in states],
        arrival=np.array([r.arrival if r else arrival_of(s) for r, s in zip(records, states, strict=True)]),
        score=score,
        expected=expected,
        p90=p90,
        generated=np.array([float(produced(s)) for s in states]),
        max_tokens=np.array([float(r.max_tokens) if r else 0.0 for r in records]),
        prompt_tokens=np.array([float(r.prompt_tokens) if r else 0.0 for r in records]),
        cached_prompt_tokens=np.array([float(r.cached_tokens) if r else 0.0 for r in records]),
        learned=learned,
    )
    keys: list[int] = order_queue(queue, rules, now=now).serving_key.tolist()
    return keys


def _lengths(prediction: Prediction | None) -> tuple[float, float, float, float]:
    """Score, expectation, p90 and learned score; NaN for what is not known."""
    if prediction is None:
        return math.nan, math.nan, math.nan, math.nan
    return (
        prediction.score,
        prediction.expected_token_count if prediction.HasField("expected_token_count") else math.nan,
        prediction.p90_token_count if prediction.HasField("p90_token_count") else math.nan,
        prediction.learned_score if prediction.HasField("learned_score") else math.nan,
    )
