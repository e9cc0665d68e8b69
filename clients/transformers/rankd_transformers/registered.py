"""What was registered, where the scheduler finds it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from rankd_client.integration import (
    BackgroundScores,
    IntegrationSettings,
    MemoryTally,
    PredictionStore,
    Reporter,
    connect,
    warn_once,
)

from rankd_transformers.ranking import EngineRanking

Detokenizer = Callable[[Sequence[int]], str]


NAME = "ranked"


@runtime_checkable
class Tokenizer(Protocol):
    """What transformers' tokenizers can do."""

    def decode(self, token_ids: Any, *, skip_special_tokens: bool) -> Any:
        """Text of token ids."""


class Registration:
    """One scheduler type: its tokenizer, its settings, and what became of requests. Its managers share connections."""

    def __init__(self, tokenizer: Tokenizer | Detokenizer, settings: IntegrationSettings, *, whole_model: bool) -> None:
        """Connect to nothing yet."""
        self.tokenizer, self.settings, self.whole_model = tokenizer, settings, whole_model
        self._detokenize = _detokenizer(tokenizer)
        self._scores, self._started, self._sent = MemoryTally(), MemoryTally(), MemoryTally()
        self._reports = Reporter(PredictionStore(), functools.partial(connect, settings), self._sent)
        self._idle: list[BackgroundScores] = []

    def counts(self) -> dict[str, dict[str, int]]:
        """What became of requests.

        ``scores``: scored, and why asking failed. ``started``: ranked, not_scored (its place came before its score),
        arrival_order (no rules: rankd is silent, or its guard says so). ``reports``: accepted, and why not.
        """
        return {
            "scores": self._scores.counts(),
            "started": self._started.counts(),
            "reports": self._sent.counts(),
        }

    def begin(self, cached_tokens: Callable[[Any], int]) -> EngineRanking:
        """What a scheduler needs; connections of one that ended are taken over.

        Args:
            cached_tokens: how much of a request that waits its cache holds now.
        """
        try:
            scores = self._idle.pop()
        except IndexError:
            scores = BackgroundScores(self.settings, lambda: self._detokenize, self._scores)
        scores.start()
        return EngineRanking(scores, self._reports, self._started, cached_tokens)

    def end(self, ranking: EngineRanking) -> None:
        """A scheduler is gone; called by the collector of garbage, which nothing may be raised into."""
        try:
            ranking.clear()
        except Exception as error:  # noqa: BLE001 - whatever it is, these connections are not used again
            warn_once("what a scheduler left could not be cleared", error)
            ranking.scores.close()
        else:
            self._idle.append(ranking.scores)

    def close(self) -> None:
        """Report what is left, and end the threads of schedulers that are gone."""
        while self._idle:
            self._idle.pop().close()
        self._reports.close()


REGISTERED: dict[str, Registration] = {}


def _detokenizer(tokenizer: Tokenizer | Detokenizer) -> Detokenizer:
    """What makes text of token ids, in a thread of its own: a tokenizer that is in use elsewhere is copied."""
    if not isinstance(tokenizer, Tokenizer):
        return tokenizer
    mine = copy.deepcopy(tokenizer)
    return lambda ids: str(mine.decode(list(ids), skip_special_tokens=True))
