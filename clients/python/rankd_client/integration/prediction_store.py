"""Predictions by the engine's id of a request, from when it is ranked until its completion is reported."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from rankd_client._forks import follow_forks
from rankd_client.integration.expected_wait import Begun, ExpectedWait
from rankd_client.integration.prompt_text import NO_TEXT, PromptText
from rankd_client.integration.prompt_tokens import PromptTokens
from rankd_client.v1.prediction_pb2 import Prediction

_CAPACITY = 65_536
_MOST_BYTES = 64 * 2**20
"""A prediction carries features of about a kilobyte: that is some 40,000 of them."""
_OVERHEAD = 768
"""Bytes that an entry takes beside its prediction as it is sent."""


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """What a report needs that the engine does not know. ``ranked_id`` is ours: clients' ids stay in the engine."""

    ranked_id: str
    prediction: Prediction
    arrival: float
    ignore_eos: bool
    text: PromptText = NO_TEXT
    """Of its prompt, to learn from what the engine counts of it."""
    beside: int | None = None
    """Requests that were there when it went to the engine, to learn from how long it waited."""


class PredictionStore:
    """Bounded in number and in memory: the oldest entries make room. Safe across threads."""

    def __init__(self, capacity: int = _CAPACITY, most_bytes: int = _MOST_BYTES) -> None:
        """Remember nothing yet.

        Args:
            capacity: most entries. Requests that the engine never says the end of stay until they are pushed out.
            most_bytes: most memory of them together, about.
        """
        self.used = False
        """Whether anything was ever remembered."""
        self.prompt_tokens = PromptTokens()
        """What completions tell of prompts that are to come."""
        self.wait = ExpectedWait()
        """What they tell of how long requests wait."""
        self.nbytes = 0
        """Of what is remembered, about."""
        self._capacity, self._most_bytes = capacity, most_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[StoredPrediction, int]] = OrderedDict()
        follow_forks(self)

    def forked(self) -> None:
        """Whoever held the lock is not in this process."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, engine_id: str, entry: StoredPrediction) -> None:
        """Keep an entry; one of the same id is replaced."""
        size = entry.prediction.ByteSize() + _OVERHEAD
        with self._lock:
            self.used = True
            self._forget(self._entries.pop(engine_id, None))
            self._entries[engine_id] = entry, size
            self.nbytes += size
            while len(self._entries) > self._capacity or (self.nbytes > self._most_bytes and len(self._entries) > 1):
                self._forget(self._entries.popitem(last=False)[1])

    def take(self, engine_id: str) -> StoredPrediction | None:
        """Give an entry and forget it; None where there is none."""
        with self._lock:
            return self._forget(self._entries.pop(engine_id, None))

    def _forget(self, held: tuple[StoredPrediction, int] | None) -> StoredPrediction | None:
        if held is None:
            return None
        self.nbytes -= held[1]
        return held[0]

    def learn(self, entry: StoredPrediction, tokens: int, cached: int, waited: float | None = None) -> None:
        """Take in what the engine tells of an entry's request.

        Args:
            entry: of the request.
            tokens: of its prompt; 0 where the engine did not count them.
            cached: of these, by its prefix cache.
            waited: seconds until it was first scheduled; None where the engine does not tell.
        """
        self.prompt_tokens.learn("", entry.text, tokens, cached)
        if waited is not None and entry.beside is not None:
            self.wait.learn(entry.beside, waited, Begun.ENGINE)
