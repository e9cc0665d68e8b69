"""``register``: what makes ``scheduler_type="ranked"`` known to transformers."""

from __future__ import annotations

from rankd_client.integration import IntegrationSettings

from rankd_transformers.compatibility import check
from rankd_transformers.registered import NAME, REGISTERED, Detokenizer, Registration, Tokenizer


def register(
    tokenizer: Tokenizer | Detokenizer,
    *,
    settings: IntegrationSettings | None = None,
    name: str = NAME,
    whole_model: bool = False,
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
    settings = IntegrationSettings.from_environment() if settings is None else settings
    from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING  # noqa: PLC0415 - checked now

    from rankd_transformers.scheduler import RankedScheduler  # noqa: PLC0415 - needs what was checked

    there = SCHEDULER_MAPPING.get(name)
    if there is not None and not issubclass(there, RankedScheduler):
        raise ValueError(f"name: {name!r} is a scheduler type of transformers; choose another")
    before = REGISTERED.get(name)
    if (
        before is not None
        and before.tokenizer is tokenizer
        and (before.settings, before.whole_model) == (settings, whole_model)
    ):
        return before
    made = REGISTERED[name] = Registration(tokenizer, settings, whole_model=whole_model)

    class Registered(RankedScheduler):
        registration = made

    SCHEDULER_MAPPING[name] = Registered
    return made
