"""What a row says of its request beside the prompt: its shape, and when it was there.

All of it is optional. What cannot be read counts as not given: a row is worth as much without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from typing import Any

from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.datafiles.values import Seconds, Unreadable, is_absent, name_of, number_of, text_of

_COUNTS = ("messages", "tools", "thinking_budget", "choices", "stops")
_NAMES = ("last_role", "tool_choice", "response_format", "reasoning_effort", "step")
SHAPE_FIELDS = (*_COUNTS, *_NAMES)
"""Those of ``RequestShape``. A list, as a body has ``messages`` and ``tools``, counts by its length."""
PROMPT_TOKENS_FIELDS = ("prompt_tokens", "input_tokens", "usage.prompt_tokens", "usage.input_tokens")
TIME_FIELDS = ("ended_at", "arrival", "t_s")
"""Where a time may stand: seconds, an epoch in another unit, or an ISO time. The first that holds one counts."""
_LARGEST_COUNT = 2**31 - 1
_LONGEST_STEP, _LONGEST_NAME = 256, 64
_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""From which size a number must be an epoch in nanoseconds, microseconds and milliseconds."""


def shape_of(raw: Mapping[str, Any]) -> RequestShape:
    """The shape of a row's request."""
    given = {name: count for name in _COUNTS if (count := count_of(raw.get(name)))}
    names = {name: text for name in _NAMES if (text := _name(raw.get(name), name))}
    return RequestShape(**given, **names) if given or names else NO_SHAPE  # type: ignore[arg-type]


def prompt_tokens_of(raw: Mapping[str, Any]) -> int:
    """Tokens of a row's prompt as the served model counts them; 0 where it does not tell."""
    return next((count for name in PROMPT_TOKENS_FIELDS if (count := count_of(raw.get(name)))), 0)


def tenant_of(raw: Mapping[str, Any]) -> str:
    """Whose request a row is; empty where it does not tell."""
    return name_of(raw.get("tenant"))[:_LONGEST_STEP]


def time_of(raw: Mapping[str, Any]) -> float | None:
    """Seconds by any clock; None where a row tells no time."""
    return next((at for name in TIME_FIELDS if (at := _seconds(raw.get(name))) is not None), None)


def count_of(value: Any) -> int:
    """A count, or the length of a list; 0 where it is none."""
    if isinstance(value, Sized) and not isinstance(value, str | bytes):
        return len(value)
    number = number_of(value)
    return int(number) if number is not None and 0 < number <= _LARGEST_COUNT else 0


def _name(value: Any, field: str) -> str:
    """A name, or that of an object's ``type``, as bodies have response formats and tool choices."""
    if isinstance(value, Mapping):
        value = value.get("type")
    most = _LONGEST_STEP if field == "step" else _LONGEST_NAME
    return "" if isinstance(value, Unreadable) else name_of(value)[:most]


def _seconds(value: Any) -> float | None:
    if isinstance(value, Seconds):
        return value.value
    if is_absent(value):
        return None
    number = number_of(value)
    if number is not None:
        unit = next((unit for least, unit in _UNITS if abs(number) >= least), 1.0)
        return float(number) * unit if abs(number) < 1e21 else None
    try:
        found = datetime.fromisoformat((text_of(value) or "").strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
