"""What a value in a row means, whichever format it came from: nothing, a number, a text, a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Raw = Mapping[str, Any] | str
"""Fields of a row by name, or the reason why a line is no row."""

LONGEST_PROMPT = 65_536
"""Characters kept of a prompt, half from its head and half from its tail; no ranker reads as much."""

_NOTHING = frozenset(
    {"", "null", "none", "nan", "nat", "na", "n/a", "<na>", "#n/a", "nil", "undefined", "-", "--", "\\n"}
    | {"(null)", "<null>", "<none>", "-nan", "1.#qnan", "-1.#ind"}  # of awk, SQL shells and C
)
_LONGEST_NOTHING = 16
"""Characters, with blanks around; longer texts are not looked at."""
_MOST_OF_A_COLUMN = 40
_MOST_DIGITS = 400
"""Characters of a number in text; what is longer is none."""


class UnusableRowError(ValueError):
    """A row cannot be used; the message is the reason it is counted under, and never holds what was in the row."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time that a file states with its own unit, so that nobody has to be told it."""

    value: float
    kind: Literal["instant", "duration", "day", "date"]
    """Since 1970 in UTC, since any start, since midnight; or since 1970, to the day only."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In the place of a value that cannot be made a Python value."""

    type: str
    """What the file says it is."""


def is_absent(value: Any) -> bool:
    """Whether a value stands for none: null, NaN (as pandas writes null), an empty text, "null", "None", "-" ..."""
    if isinstance(value, bytes) and len(value) < _LONGEST_NOTHING:
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return len(value) < _LONGEST_NOTHING and value.strip().lower() in _NOTHING
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, float) and math.isnan(value))


def number_of(value: Any) -> float | None:
    """A number, exact where it is whole, from a number or from text; None where it is none. Truth values are none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _number_in(value.strip())
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _number_in(text: str) -> float | None:
    if len(text) > _MOST_DIGITS or "_" in text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _plain(value: Decimal) -> float | None:
    if not value.is_finite():
        return None if value.is_nan() else math.copysign(math.inf, value)
    # An exponent of a million would be a million digits.
    whole = value.adjusted() < _MOST_DIGITS and value == value.to_integral_value()
    return int(value) if whole else float(value)


def whole_of(value: Any) -> float | None:
    """A whole number, or an infinite one; None where it is neither."""
    number = number_of(value)
    if number is None or isinstance(number, int):
        return number
    if math.isinf(number):
        return number
    return int(number) if number.is_integer() else None


def text_of(value: Any) -> str | None:
    """Text; bytes where they are UTF-8; None for everything else."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


def name_of(value: Any) -> str:
    """A name of something; empty where there is none."""
    if is_absent(value) or isinstance(value, Unreadable | Mapping | list):
        return ""
    return (text_of(value) or "").strip() if isinstance(value, str | bytes) else str(value)


def flattened(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A row with the fields of an object in it as fields of its own, ``name.field``, as Parquet and pandas do it."""
    inner = raw.get(name)
    return {**{f"{name}.{key}": value for key, value in inner.items()}, **raw} if isinstance(inner, Mapping) else raw


def shown(column: str) -> str:
    """A column as it is named in a reason: as its user called it, of bounded length."""
    return f"`{''.join(c for c in column[:_MOST_OF_A_COLUMN] if c.isprintable())}`"


def cut_prompt(prompt: str) -> str:
    """Head and tail of a prompt that is longer than ``LONGEST_PROMPT``."""
    if len(prompt) <= LONGEST_PROMPT:
        return prompt
    return prompt[: LONGEST_PROMPT // 2] + prompt[-(LONGEST_PROMPT // 2) :]
