"""Tokens of prompts, estimated: whoever sees HTTP alone does not know the engine's tokeniser.

A prompt's bytes of text are divided by bytes per token, which for each served model is what the engine's own counts
say of recent prompts: their median, from 1 to 8, and 4 before anything is known. Of a conversation that goes on, what
went before was read once, and the share of it that engines report as cached is expected to be. Prompts that come as
token ids are counted. docs/adr/0019-prompt-tokens-by-ratio.md says why.
"""

from __future__ import annotations

import statistics
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rankd_client._forks import follow_forks
from rankd_client.integration.prompt_text import PromptText

BYTES_PER_TOKEN = 4.0
"""Before an engine counted anything."""
_LEAST, _MOST = 1.0, 8.0
_RECENT = 127
"""Prompts that a ratio is of."""
_PRIOR = 7
"""Prompts that what is presumed weighs as much as."""
_EVERY = 8
"""Prompts between two looks at the median."""
_LEAST_SIZE = 1000
"""Bytes of text from which a prompt is learned from: of a shorter one the chat's template is much."""
_MOST_MODELS = 256
_MOST_TOKENS = 2**32 - 1


class PromptCount(NamedTuple):
    """Tokens of a prompt, and how many of them are expected to be cached."""

    tokens: int
    cached: int = 0


@dataclass(slots=True)
class _Model:
    """What is known of one served model."""

    bytes_per_token: float = BYTES_PER_TOKEN
    cached_share: float = 0.0
    ratios: deque[float] = field(default_factory=lambda: deque([BYTES_PER_TOKEN] * _PRIOR, maxlen=_RECENT))
    shares: deque[float] = field(default_factory=lambda: deque([0.0] * _PRIOR, maxlen=_RECENT))
    seen: int = 0
    says_cached: bool = False
    """Whether the engine ever said how much was cached: engines leave it out where that is nothing."""


class PromptTokens:
    """Estimates, and learns from what engines count. Safe across threads; never raises on numbers."""

    def __init__(self) -> None:
        """Nothing is learned yet."""
        self._lock = threading.Lock()
        self._models: OrderedDict[str, _Model] = OrderedDict()
        follow_forks(self)

    def forked(self) -> None:
        """Whoever held the lock is not in this process."""
        self._lock = threading.Lock()

    def bytes_per_token(self, model: str) -> float:
        """What is taken for a served model now."""
        known = self._models.get(model)
        return known.bytes_per_token if known is not None else BYTES_PER_TOKEN

    def cached_share(self, model: str) -> float:
        """The share of what went before in a conversation that is taken to be cached, 0 to 1."""
        known = self._models.get(model)
        return known.cached_share if known is not None else 0.0

    def estimate(self, model: str, text: PromptText) -> PromptCount:
        """The tokens of a prompt of a served model; exact where it came as token ids, 0 where it has no text."""
        ratio = self.bytes_per_token(model)
        tokens = min(text.token_ids + round(text.size / ratio), _MOST_TOKENS)
        return PromptCount(tokens, min(round(text.earlier / ratio * self.cached_share(model)), tokens))

    def estimates(self, model: str, texts: Iterable[PromptText]) -> list[PromptCount]:
        """Those of several prompts."""
        return [self.estimate(model, text) for text in texts]

    def learn(self, model: str, text: PromptText, tokens: int, cached: int | None = None) -> None:
        """Take in what an engine counted.

        Args:
            model: the served one.
            text: of the prompt that it counted.
            tokens: of all of the prompt; 0 where it does not say.
            cached: of those, what it had in its prefix cache; None where it does not say.
        """
        if tokens <= 0 or text.token_ids or not text.is_all or text.size < _LEAST_SIZE:
            return
        with self._lock:
            known = self._model(model)
            known.ratios.append(min(max(text.size / tokens, _LEAST), _MOST))
            known.says_cached = known.says_cached or cached is not None
            if known.says_cached and text.earlier >= _LEAST_SIZE:
                before = tokens * text.earlier / text.size
                known.shares.append(min(max((cached or 0) / before, 0.0), 1.0))
            known.seen += 1
            if known.seen < _RECENT or known.seen % _EVERY == 0:
                known.bytes_per_token = statistics.median(known.ratios)
                known.cached_share = statistics.fmean(known.shares)

    def _model(self, model: str) -> _Model:
        known = self._models.get(model)
        if known is None:
            known = self._models[model] = _Model()
            if len(self._models) > _MOST_MODELS:
                self._models.popitem(last=False)
        return known
