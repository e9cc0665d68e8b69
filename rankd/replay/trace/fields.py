"""One raw row of a trace, whatever file it came from: when it came, how long it was; or the reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.datafiles import UnusableRowError, is_absent, name_of, number_of, shown, text_of, whole_of
from rankd.datafiles.shapes import SHAPE_FIELDS, count_of, shape_of
from rankd.replay.trace.arrival import ArrivalClock

LONGEST = 10_000_000
"""Tokens that are believed."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One row."""

    arrival: float
    """Seconds by the trace's own clock."""
    output: int
    prompt_tokens: int | None
    """The whole prompt, with what of it was cached; None: not stated."""
    cached_tokens: int
    """Of the prompt, what the prefix cache held; at most as many as ``prompt_tokens`` where these are stated."""
    score: float | None
    prompt: str | None
    tenant: str
    priority_class: int
    model: str
    max_tokens: int = 0
    """0: none is stated."""
    shape: RequestShape = NO_SHAPE


def request_of(
    raw: Mapping[str, Any], columns: Mapping[str, str], clock: ArrivalClock, *, timed: bool = True
) -> TraceRequest:
    """Make a request of a raw row. What stands for no value (null, NaN, "null", "-" ...) is none.

    Args:
        raw: values by the file's own column names; those of CSV files are strings.
        columns: what ``columns_of`` says.
        clock: reads arrivals.
        timed: whether it needs an arrival; without it counts as one that came with the row before.

    Raises:
        UnusableRowError: with the reason, which names the column.
    """

    def value(field: str) -> tuple[Any, str]:
        name = columns.get(field, field)
        found = raw.get(name) if field in columns else None
        return (None if is_absent(found) else found), name

    arrival, output = value("arrival"), value("output tokens")
    if arrival[0] is None and timed:
        raise UnusableRowError(f"no arrival{_in(columns, 'arrival')} (--burst needs none)")
    if output[0] is None:
        raise UnusableRowError(f"no output tokens{_in(columns, 'output tokens')}")
    # A prompt may well be "null".
    prompt = raw.get(columns.get("prompt", ""))
    seconds = clock.take(*arrival) if timed else clock.take_if_any(*arrival)
    names = ("input tokens", "cached tokens", "cache read tokens", "cache creation tokens")
    tokens, cached = _prompt_tokens(*(value(name) for name in names))
    return TraceRequest(
        arrival=seconds,
        output=_tokens(*output, least=1),
        prompt_tokens=tokens,
        cached_tokens=cached,
        score=_score(*value("score")),
        prompt=_text(prompt),
        tenant=name_of(value("tenant")[0])[:_LONGEST_NAME],
        priority_class=_class(*value("class")),
        model=name_of(value("model")[0])[:_LONGEST_NAME],
        max_tokens=count_of(value("max tokens")[0]),
        shape=shape_of({name: raw.get(columns[name]) for name in SHAPE_FIELDS if name in columns}),
    )


def _in(columns: Mapping[str, str], field: str) -> str:
    return f" in {shown(columns[field])}" if field in columns else ""


def _prompt_tokens(
    tokens: tuple[Any, str], cached: tuple[Any, str], read: tuple[Any, str], created: tuple[Any, str]
) -> tuple[int | None, int]:
    """Tokens of a prompt, None where not stated, and how many of them were cached.

    Anthropic's counts of what was read from the cache and written to it come on top of its input tokens.
    """
    fields = (tokens, cached, read, created)
    stated, held, taken, written = (None if v is None else _tokens(v, name, least=0) for v, name in fields)
    if held is None and taken is not None:
        if stated is not None:
            stated += taken + (written or 0)
        held, cached = taken, read
    if stated is not None and held is not None and held > stated:
        raise UnusableRowError(f"{shown(cached[1])} is above {shown(tokens[1])}")
    return stated, held or 0


def _tokens(value: Any, column: str, *, least: int) -> int:
    number, name = whole_of(value), shown(column)
    if number is None:
        raise UnusableRowError(f"{name} is not a whole number")
    if number < least:
        raise UnusableRowError(f"{name} is below {least}")
    if number > LONGEST:
        raise UnusableRowError(f"{name} is above {LONGEST:,}")
    return int(number)


def _score(value: Any, column: str) -> float | None:
    if value is None:
        return None
    number = number_of(value)
    try:
        number = None if number is None else float(number)
    except OverflowError:
        number = None
    if number is None or not math.isfinite(number):
        raise UnusableRowError(f"{shown(column)} is not a finite number")
    return number


def _class(value: Any, column: str) -> int:
    if value is None:
        return 0
    number = whole_of(value)
    if number is None or abs(number) > 2**15:
        raise UnusableRowError(f"{shown(column)} is not a whole number from -32,768 to 32,768")
    return int(number)


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = text_of(value)
    if text is None:
        raise UnusableRowError("prompt is not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableRowError("prompt is not UTF-8") from None
    return text if text.strip() else None
