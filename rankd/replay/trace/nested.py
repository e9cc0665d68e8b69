"""Rows of exports with objects in them, laid flat: what an API answered, its `usage`, and how Langfuse splits it.

Formats, as their makers describe them: answers of OpenAI's API and lines of its batch output, LiteLLM's table
`LiteLLM_SpendLogs`, and Langfuse's export of observations, whose CSV has objects as JSON in a cell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rankd.datafiles import number_of, whole_of
from rankd.replay.trace.names import canonical

_WRAPPERS = ("response", "body")
"""Objects whose fields are read as the row's own, where the row has none of that name: the answer of a request."""
_WORTH = frozenset({"usage", "created", "created_at", "body"})
"""One of these makes an object an answer."""
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_USAGES = ("usage", "usage_details")
_NESTED = frozenset({*_USAGES, *_DETAILS, *(f"usage.{name}" for name in _DETAILS)})
"""Objects whose fields are read as fields of the row: `usage.prompt_tokens`."""
_LONGEST_CELL = 65_536
"""Characters of a cell that is looked at as JSON."""
_CACHED = ("input_cached_tokens", "input_cache_read")
"""What Langfuse calls prompt tokens that were in a cache."""


def has_nested(names: Sequence[str]) -> bool:
    """Whether a column may hold objects that ``flat_row`` lays flat."""
    return any(canonical(name) in {*_NESTED, *_WRAPPERS, "metadata"} for name in names)


def nested_in(names: Sequence[str]) -> list[str]:
    """The columns that ``flat_row`` looks into, their fields included, as Parquet names those of a struct."""
    wanted = {*_NESTED, *_WRAPPERS, "metadata"}
    return [name for name in names if canonical(name.split(".")[0]) in wanted]


def flat_row(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with the fields that count in it as its own. One without objects is given back as it is."""
    if not has_nested(tuple(raw)):
        return raw
    row = dict(raw)
    for wrapper in _WRAPPERS:
        _unwrap(row, wrapper)
    _take_usage_object(row)
    for name, value in list(row.items()):
        _lay_flat(row, canonical(name), value)
    return row


def _unwrap(row: dict[str, Any], wrapper: str) -> None:
    name = next((n for n in row if canonical(n) == wrapper), None)
    inner = None if name is None else _object(row[name])
    if inner is None or not _WORTH & inner.keys():
        return
    for key, value in inner.items():
        if row.get(key) is None:
            row[key] = value


def _take_usage_object(row: dict[str, Any]) -> None:
    """LiteLLM keeps an answer's `usage` in a row's metadata."""
    metadata = _object(row.get("metadata"))
    if metadata is not None and row.get("usage") is None and (usage := _object(metadata.get("usage_object"))):
        row["usage"] = usage


def _lay_flat(row: dict[str, Any], name: str, value: Any) -> None:
    if name not in _NESTED or (inner := _object(value)) is None:
        return
    for key, field in inner.items():
        path = f"{name}.{canonical(str(key))}"
        row.setdefault(path, field)
        _lay_flat(row, path, field)
    if name in _USAGES:
        _add_split_usage(row, name, inner)


def _add_split_usage(row: dict[str, Any], name: str, usage: Mapping[str, Any]) -> None:
    """Langfuse takes what was cached off `input`, and reasoning off `output`: what begins alike belongs together."""
    for side in ("input", "output"):
        parts = {k: whole_of(v) for k, v in usage.items() if k == side or str(k).startswith(f"{side}_")}
        counts = [n for k, n in parts.items() if n is not None and not str(k).endswith(("_tokens_details", "_cost"))]
        if number_of(usage.get(side)) is not None:
            row.setdefault(f"{name}.{side}_tokens", sum(counts))
    if "input" in usage and (cached := next((k for k in _CACHED if k in usage), None)) is not None:
        row.setdefault(f"{name}.cached_tokens", usage[cached])


def _object(value: Any) -> Mapping[str, Any] | None:
    """An object, also one that is JSON in a text."""
    if isinstance(value, str) and value.lstrip()[:1] == "{" and len(value) <= _LONGEST_CELL:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None
