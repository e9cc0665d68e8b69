"""What an answer's ``usage`` says of the prompt: tokens of all of it, and how many the engine had cached. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_MOST_TOKENS = 10_000_000
"""As the daemon's limits.max_token_count, beyond which it would not take the report."""
_DETAILS = ("prompt_tokens_details", "input_tokens_details")


class PromptUsage(NamedTuple):
    """``tokens`` of all of the prompt, 0 where it is not said; ``cached`` of them, None where it is not said."""

    tokens: int = 0
    cached: int | None = None


def prompt_usage(usage: Mapping[str, Any]) -> PromptUsage:
    """Read it as OpenAI writes it, where cached tokens are among those of the prompt; what cannot be is left out."""
    tokens = _count(_first(usage, ("prompt_tokens", "input_tokens")))
    details = _first(usage, _DETAILS)
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if tokens is None or (cached is not None and cached > tokens):
        return PromptUsage(tokens or 0)
    return PromptUsage(tokens, cached)


def prompt_usage_of_message(usage: Mapping[str, Any]) -> PromptUsage:
    """Read it as Anthropic writes it, where ``input_tokens`` are those that were not cached."""
    parts = [_part(usage, f"{name}input_tokens") for name in ("", "cache_creation_", "cache_read_")]
    tokens = _count(sum(part for part in parts if part is not None))
    if None in parts or not tokens:
        return PromptUsage()
    return PromptUsage(tokens, parts[2] if usage.get("cache_read_input_tokens") is not None else None)


def _part(usage: Mapping[str, Any], name: str) -> int | None:
    """A number, 0 where there is none; None where something else stands there."""
    return 0 if usage.get(name) is None else _count(usage[name])


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def _count(value: object) -> int | None:
    """A whole number of tokens that can be; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None
