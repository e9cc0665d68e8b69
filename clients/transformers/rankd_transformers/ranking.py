"""What one scheduler knows of its requests, and the order that follows. Makes no call and waits for nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rankd_client.integration import FCFS, BackgroundScores, InTurn, Reporter, Tally, warn_once

from rankd_transformers.request_records import (
    RequestRecord,
    WaitingRequests,
    arrival_of,
    completed,
    ending,
    running_keys,
)

_EVERY = 1.0
"""Seconds between reports of progress."""
_engine_ids = itertools.count()


class EngineRanking:
    """Scores come from threads, reports go to one; all else happens in the engine's thread."""

    def __init__(
        self, scores: BackgroundScores, reports: Reporter, started: Tally, cached_tokens: Callable[[Any], int]
    ) -> None:
        """Start with nothing under way.

        Args:
            scores: asks for scores and follows the rules.
            reports: takes completions and progress.
            started: counts in what order requests were started.
            cached_tokens: how much of a request that waits the cache holds now.
        """
        self.scores = scores
        self._reports, self._started, self._cached_tokens = reports, started, cached_tokens
        self._to_look_up = InTurn()
        self._records: dict[str, RequestRecord] = {}
        self._request_ids: dict[str, str] = {}
        self._waiting = WaitingRequests(FCFS)
        self._progress_reported_at = 0.0

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._records)

    @property
    def by_arrival(self) -> bool:
        """Whether the order is that of arrival."""
        return self._waiting.by_arrival

    def arrived(self, state: Any) -> None:
        """A request waits, for the first time or after it was preempted."""
        request_id = state.request_id
        record = self._records.get(request_id)
        if record is None or not record.preempted:
            if record is not None:
                self.forget(request_id)
            record = self._records[request_id] = self._asked(state)
            self._request_ids[record.engine_id] = request_id
        record.preempted = False
        self._waiting.add(request_id, record, state, self._cached(state))

    def _asked(self, state: Any) -> RequestRecord:
        """A request that its score was asked for."""
        arrival, engine_id, most = arrival_of(state), str(next(_engine_ids)), state.max_new_tokens or 0
        prompt = state.initial_tokens
        ranked_id = self.scores.add(engine_id, prompt, arrival, most, cached_prompt_tokens=self._cached(state))
        return RequestRecord(engine_id, ranked_id, arrival, most, len(prompt))

    def _cached(self, state: Any) -> int:
        try:
            return self._cached_tokens(state)
        except Exception as error:  # noqa: BLE001 - it counts as not cached
            warn_once("the cache of prefixes could not be asked", error)
            return 0

    def prepare(self, active: Mapping[str, Any], states: Mapping[str, Any]) -> None:
        """An iteration begins: take what came since the last one.

        Args:
            active: what runs, by id.
            states: all that waits, by id.
        """
        scores, waiting, now = self.scores, self._waiting, time.monotonic()
        while scores.new_predictions:
            engine_id, prediction = scores.new_predictions.popleft()
            request_id = self._request_ids.get(engine_id)
            if request_id is not None:
                self._records[request_id].prediction = prediction
                waiting.predict(request_id, prediction)
        rules = scores.rules(now)
        if rules is not waiting.rules:
            waiting.rules = rules
        if rules.prompt_cost or rules.prompt_pace:
            for request_id in self._to_look_up.some(states):  # others leave their blocks there, and take them away
                waiting.cache(request_id, self._cached(states[request_id]))
        if now - self._progress_reported_at > _EVERY:
            self._progress_reported_at = now
            scores.backlog_tokens = waiting.tokens()
            for state in active.values():
                record = self._records.get(state.request_id)
                if record is not None and record.prediction is not None:
                    self._reports.put(completed(record, state, "in_progress"))

    def candidates(self, states: Mapping[str, Any], most: int) -> list[Any]:
        """Who goes next, at most so many; ``states`` is all that waits, by id."""
        if len(states) != len(self._waiting):
            self._reconcile(states)
        return [states[request_id] for request_id in self._waiting.first(most, time.time())]

    def _reconcile(self, states: Mapping[str, Any]) -> None:
        """Wait for exactly those that wait, whatever was missed."""
        for request_id in self._records.keys() - states.keys():
            self._waiting.remove(request_id)
        for request_id, state in states.items():
            if request_id in self._records:
                self._waiting.add(request_id, self._records[request_id], state, self._cached(state))
            else:
                self.arrived(state)

    def started(self, ids: Iterable[str], active: Mapping[str, Any]) -> None:
        """Requests do not wait any more; ``active`` is what runs, by id, before it is read."""
        now = time.time()
        for request_id in ids:
            record = self._records.get(request_id)
            if record is None:
                continue
            self._waiting.left(request_id)
            if record.started_at is None:
                record.started_at = now
                if (state := active.get(request_id)) is not None:
                    record.cached_tokens = min(int(state.position_offset), record.prompt_tokens)
                if self.by_arrival:
                    self._started.inc("arrival_order")
                else:
                    self._started.inc("ranked" if record.prediction is not None else "not_scored")

    def in_serving_order(self, states: Sequence[Any]) -> list[Any]:
        """Running requests in the order in which they keep their memory."""
        records = [self._records.get(s.request_id) for s in states]
        keys = running_keys(states, records, self._waiting.rules, time.time())
        return [states[i] for i in sorted(range(len(states)), key=keys.__getitem__)]

    def stopped(self, state: Any) -> None:
        """A running request ended or was preempted."""
        record = self._records.get(state.request_id)
        if record is None:
            return
        end = ending(state)
        if end is None:
            record.preempted = True
            return
        finish, whole = end
        self.forget(state.request_id)
        if record.prediction is not None:
            self._reports.put(completed(record, state, finish, whole=whole))

    def cancelled(self, state: Any) -> None:
        """A request was taken back."""
        record = self._records.get(state.request_id)
        if record is not None:
            self.forget(state.request_id)
            if record.prediction is not None:
                self._reports.put(completed(record, state, "cancelled"))

    def forget(self, request_id: str) -> None:
        """Let go of all that is known of a request."""
        record = self._records.pop(request_id)
        self._request_ids.pop(record.engine_id, None)
        self._waiting.remove(request_id)
        self.scores.remove(record.engine_id)

    def clear(self) -> None:
        """Let go of everything."""
        for request_id in list(self._records):
            self.forget(request_id)
