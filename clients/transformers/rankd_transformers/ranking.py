"""What one scheduler knows of its requests, and the order that follows. Makes no call and waits for nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rankd_client.integration.background_scores import FCFS, BackgroundScores
from rankd_client.integration.reporter import Reporter
from rankd_client.integration.tally import Tally

from rankd_transformers.request_state import RequestState, WaitingRequests, arrival_of, completed, ending, running_keys

_EVERY = 1.0
"""Seconds between reports of progress."""
_names = itertools.count()


class EngineRanking:
    """Scores come from threads, reports go to one; all else happens in the engine's thread."""

    def __init__(self, scores: BackgroundScores, reports: Reporter, started: Tally) -> None:
        """Start with nothing under way.

        Args:
            scores: asks for scores and follows the rules.
            reports: takes completions and progress.
            started: counts in what order requests were started.
        """
        self.scores = scores
        self._reports, self._started = reports, started
        self._known: dict[str, RequestState] = {}
        self._ids: dict[str, str] = {}
        self._waiting = WaitingRequests(FCFS)
        self._told = 0.0

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._known)

    @property
    def by_arrival(self) -> bool:
        """Whether the order is that of arrival."""
        return self._waiting.by_arrival

    def arrived(self, state: Any) -> None:
        """A request waits, for the first time or after it was preempted."""
        request_id = state.request_id
        known = self._known.get(request_id)
        if known is None or not known.preempted:
            if known is not None:
                self.forget(request_id)
            arrival, name, most = arrival_of(state), str(next(_names)), state.max_new_tokens or 0
            ranked_id = self.scores.arrived(name, state.initial_tokens, arrival, most)
            known = self._known[request_id] = RequestState(name, ranked_id, arrival, most)
            self._ids[name] = request_id
        known.preempted = False
        self._waiting.add(request_id, known, state)

    def prepare(self, active: Mapping[str, Any]) -> None:
        """An iteration begins: take what came since the last one."""
        scores, waiting, now = self.scores, self._waiting, time.monotonic()
        while scores.news:
            name, prediction = scores.news.popleft()
            request_id = self._ids.get(name)
            if request_id is not None:
                self._known[request_id].prediction = prediction
                waiting.predicted(request_id, prediction)
        rules = scores.rules(now)
        if rules is not waiting.rules:
            waiting.rules = rules
        if now - self._told > _EVERY:
            self._told = now
            scores.backlog_tokens = waiting.tokens()
            for state in active.values():
                known = self._known.get(state.request_id)
                if known is not None and known.prediction is not None:
                    self._reports.put(completed(known, state, "in_progress"))

    def candidates(self, states: Mapping[str, Any], most: int) -> list[Any]:
        """Who goes next, at most so many; ``states`` is all that waits, by id."""
        if len(states) != len(self._waiting):
            self._make_good(states)
        return [states[request_id] for request_id in self._waiting.first(most, time.time())]

    def _make_good(self, states: Mapping[str, Any]) -> None:
        """Wait for exactly those that wait, whatever was not told."""
        for request_id in self._known.keys() - states.keys():
            self._waiting.remove(request_id)
        for request_id, state in states.items():
            if request_id in self._known:
                self._waiting.add(request_id, self._known[request_id], state)
            else:
                self.arrived(state)

    def started(self, ids: Iterable[str]) -> None:
        """Requests do not wait any more."""
        now = time.time()
        for request_id in ids:
            known = self._known.get(request_id)
            if known is None:
                continue
            self._waiting.left(request_id)
            if known.since is None:
                known.since = now
                if self.by_arrival:
                    self._started.inc("arrival_order")
                else:
                    self._started.inc("ranked" if known.prediction is not None else "not_scored")

    def best_first(self, states: Sequence[Any]) -> list[Any]:
        """Running requests in the order in which they keep their memory."""
        known = [self._known.get(s.request_id) for s in states]
        keys = running_keys(states, known, self._waiting.rules, time.time())
        return [states[i] for i in sorted(range(len(states)), key=keys.__getitem__)]

    def stopped(self, state: Any) -> None:
        """A running request ended or was preempted."""
        known = self._known.get(state.request_id)
        if known is None:
            return
        end = ending(state)
        if end is None:
            known.preempted = True
            return
        finish, whole = end
        self.forget(state.request_id)
        if known.prediction is not None:
            self._reports.put(completed(known, state, finish, whole=whole))

    def cancelled(self, state: Any) -> None:
        """A request was taken back."""
        known = self._known.get(state.request_id)
        if known is not None:
            self.forget(state.request_id)
            if known.prediction is not None:
                self._reports.put(completed(known, state, "cancelled"))

    def forget(self, request_id: str) -> None:
        """Let go of all that is known of a request."""
        known = self._known.pop(request_id)
        self._ids.pop(known.name, None)
        self._waiting.remove(request_id)
        self.scores.gone(known.name)

    def clear(self) -> None:
        """Let go of everything."""
        for request_id in list(self._known):
            self.forget(request_id)
