"""``register``: what makes ``scheduler_type="ranked"`` known to transformers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from rankd_client.integration.background_scores import Scores
from rankd_client.integration.prediction_store import Memory
from rankd_client.integration.reporter import Reporter, connected
from rankd_client.integration.settings import Settings, say_once
from rankd_client.integration.tally import Counts

from rankd_transformers.compatibility import check
from rankd_transformers.ranking import Ranking

TextOf = Callable[[Sequence[int]], str]
NAME = "ranked"


@runtime_checkable
class Tokenizer(Protocol):
    """What transformers' tokenizers can do."""

    def decode(self, token_ids: Any, *, skip_special_tokens: bool) -> Any:
        """Text of token ids."""


class Registration:
    """One scheduler type: its tokenizer, its settings, and what became of requests. Its managers share connections."""

    def __init__(self, tokenizer: Tokenizer | TextOf, settings: Settings, *, whole_model: bool) -> None:
        """Connect to nothing yet."""
        self.tokenizer, self.settings, self.whole_model = tokenizer, settings, whole_model
        self._text_of = _reader(tokenizer)
        self._scores, self._started, self._sent = Counts(), Counts(), Counts()
        self._reports = Reporter(Memory(), functools.partial(connected, settings), self._sent)
        self._idle: list[Scores] = []

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

    def begin(self) -> Ranking:
        """What a scheduler needs; connections of one that ended are taken over."""
        try:
            scores = self._idle.pop()
        except IndexError:
            scores = Scores(self.settings, lambda: self._text_of, self._scores)
        scores.start()
        return Ranking(scores, self._reports, self._started)

    def end(self, ranking: Ranking) -> None:
        """A scheduler is gone; called by the collector of garbage, which nothing may be raised into."""
        try:
            ranking.clear()
        except Exception as error:  # noqa: BLE001 - whatever it is, these connections are not used again
            say_once("what a scheduler left could not be cleared", error)
            ranking.scores.close()
        else:
            self._idle.append(ranking.scores)

    def close(self) -> None:
        """Report what is left, and end the threads of schedulers that are gone."""
        while self._idle:
            self._idle.pop().close()
        self._reports.close()


_registered: dict[str, Registration] = {}


def register(
    tokenizer: Tokenizer | TextOf, *, settings: Settings | None = None, name: str = NAME, whole_model: bool = False
) -> Registration:
    """Make a scheduler type known to transformers' continuous batching. Again with the same, it changes nothing.

    Args:
        tokenizer: makes text of a prompt's token ids, for the ranker to read: a tokenizer of transformers (a copy is
            used), or a function from token ids to text, which is called in a thread of its own.
        settings: where the daemon is; default: the environment (``RANKD_TARGET`` and others).
        name: of the scheduler type. Models with other tokenizers take other names.
        whole_model: with ``torch.distributed``, that each process has a model of its own.

    Raises:
        RuntimeError: transformers' continuous batching has changed.
        TypeError: the tokenizer cannot make text.
        ValueError: the name is one of transformers' own; an environment variable has a value that it cannot have.
    """
    if problem := check():
        raise RuntimeError(f"rankd: {problem}")
    if not isinstance(tokenizer, Tokenizer) and not callable(tokenizer):
        raise TypeError(
            f"tokenizer: must have a method decode, or be a function from token ids to text, not {type(tokenizer)}"
        )
    settings = Settings.from_environment() if settings is None else settings
    from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING  # noqa: PLC0415 - checked now

    from rankd_transformers.scheduler import RankScheduler  # noqa: PLC0415 - needs what was checked

    there = SCHEDULER_MAPPING.get(name)
    if there is not None and not issubclass(there, RankScheduler):
        raise ValueError(f"name: {name!r} is a scheduler type of transformers; choose another")
    before = _registered.get(name)
    if (
        before is not None
        and before.tokenizer is tokenizer
        and (before.settings, before.whole_model) == (settings, whole_model)
    ):
        return before
    made = _registered[name] = Registration(tokenizer, settings, whole_model=whole_model)

    class Registered(RankScheduler):
        registration = made

    SCHEDULER_MAPPING[name] = Registered
    return made


def _reader(tokenizer: Tokenizer | TextOf) -> TextOf:
    """What makes text of token ids, in a thread of its own: a tokenizer that is in use elsewhere is copied."""
    if not isinstance(tokenizer, Tokenizer):
        return tokenizer
    mine = copy.deepcopy(tokenizer)
    return lambda ids: str(mine.decode(list(ids), skip_special_tokens=True))
