"""One raw row of a trace, whatever file it came from: when it came, how long it was; or the reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rankd.datafiles import UnusableRowError

LONGEST = 10_000_000
"""Tokens that are believed."""
_LATEST = 1e13
"""Seconds: beyond any epoch."""
_LONGEST_NAME = 200

FIELDS: dict[str, tuple[str, ...]] = {
    "arrival": ("arrival", "t_s", "arrival_s", "arrival_time", "arrived_at", "timestamp", "time"),
    "input tokens": (
        "input_tokens", "prompt_tokens", "context_tokens", "contexttokens", "input_length", "request_tokens",
        "prompt_token_count",
    ),
    "output tokens": (
        "output_tokens", "output_token_count", "completion_tokens", "generated_tokens", "generatedtokens",
        "output_length", "response_tokens",
    ),
    "score": ("score",),
    "prompt": ("prompt",),
    "tenant": ("tenant", "user", "user_id"),
    "class": ("class", "priority_class"),
    "model": ("model",),
}  # fmt: skip
"""What a row may hold, by the names it may go by: the first that is there counts. Case does not matter, nor blanks."""

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One row."""

    arrival: float
    """Seconds by the trace's own clock."""
    output: int
    prompt_tokens: int | None
    score: float | None
    prompt: str | None
    tenant: str
    priority_class: int
    model: str


def canonical(name: str) -> str:
    """A column's name as it is compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def columns_of(names: Sequence[str]) -> dict[str, str]:
    """Which column holds which of ``FIELDS``."""
    there: dict[str, str] = {}
    for name in names:
        there.setdefault(canonical(name), name)
    found = {field: next((there[a] for a in aliases if a in there), None) for field, aliases in FIELDS.items()}
    return {field: name for field, name in found.items() if name is not None}


def request_of(raw: Mapping[str, Any], columns: Mapping[str, str], unit: float) -> TraceRequest:
    """Make a request of a raw row.

    Args:
        raw: values by the file's own column names; those of CSV files are strings.
        columns: what ``columns_of`` says.
        unit: seconds in a unit of arrival, where that is a number.

    Raises:
        UnusableRowError: with the reason.
    """

    def value(field: str) -> Any:
        found = raw.get(columns[field]) if field in columns else None
        return None if isinstance(found, str) and not found.strip() else found

    arrival, output = value("arrival"), value("output tokens")
    if arrival is None:
        raise UnusableRowError("no arrival")
    if output is None:
        raise UnusableRowError("no output tokens")
    tokens = value("input tokens")
    return TraceRequest(
        arrival=_time(arrival, unit),
        output=_tokens(output, "output tokens", least=1),
        prompt_tokens=None if tokens is None else _tokens(tokens, "input tokens", least=0),
        score=_score(value("score")),
        prompt=_text(value("prompt")),
        tenant=_name(value("tenant")),
        priority_class=_class(value("class")),
        model=_name(value("model")),
    )


def _time(value: Any, unit: float) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    number = _number(value)
    if number is None and isinstance(value, str):
        try:
            return _time(datetime.fromisoformat(value.strip()), unit)
        except (ValueError, OverflowError):
            pass
    if number is None:
        raise UnusableRowError("arrival is neither a number nor an ISO time")
    if not abs(number * unit) < _LATEST:
        raise UnusableRowError("arrival is out of range")
    return number * unit


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _tokens(value: Any, field: str, *, least: int) -> int:
    number = _number(value)
    if number is None or math.isnan(number) or (math.isfinite(number) and not number.is_integer()):
        raise UnusableRowError(f"{field} is not a whole number")
    if number < least:
        raise UnusableRowError(f"{field} is below {least}")
    if number > LONGEST:
        raise UnusableRowError(f"{field} is above {LONGEST:,}")
    return int(number)


def _score(value: Any) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise UnusableRowError("score is not a finite number")
    return number


def _class(value: Any) -> int:
    if value is None:
        return 0
    number = _number(value)
    if number is None or not math.isfinite(number) or not number.is_integer() or abs(number) > 2**15:
        raise UnusableRowError("class is not a whole number from -32,768 to 32,768")
    return int(number)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise UnusableRowError("prompt is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnusableRowError("prompt is not UTF-8") from None
    return value


def _name(value: Any) -> str:
    return "" if value is None else str(value).strip()[:_LONGEST_NAME]
