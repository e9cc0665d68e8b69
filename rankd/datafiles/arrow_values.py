"""Arrow's values as plain ones.

pyarrow makes Python values of its own: of times by way of ``datetime``, which knows neither nanoseconds nor years after
9999 nor zones that this machine has not, and it then raises for a whole column. Times are taken from the integers that
Arrow stores, which are UTC whatever the zone. What still cannot be read is ``Unreadable``, one cell at a time.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rankd.datafiles.values import Seconds, Unreadable

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_SHOWN = 40

is_type = pa.types


def plain_values(column: Any) -> list[Any]:
    """The values of an Arrow array.

    Returns:
        None, bool, int, float, ``Decimal``, str, bytes (only what is not UTF-8), ``Seconds``, list, dict, or
        ``Unreadable``; one for each row.
    """
    for matches, convert in _KINDS:
        if matches(column.type):
            return convert(column)
    return _cells(column, lambda value: value)


def _cells(column: Any, change: Callable[[Any], Any]) -> list[Any]:
    """By pyarrow's own conversion, of the whole column, or where that fails of each cell."""
    try:
        return [None if v is None else change(v) for v in column.to_pylist()]
    except Exception:  # noqa: BLE001 - whatever pyarrow raises for a type or a value that Python lacks
        return [_cell(cell, change) for cell in column]


def _cell(cell: Any, change: Callable[[Any], Any]) -> Any:
    try:
        value = cell.as_py()
        return None if value is None else change(value)
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes()
    except Exception:  # noqa: BLE001 - as above
        return Unreadable(str(cell.type)[:_SHOWN])


def _timestamps(column: Any) -> list[Any]:
    per_second = _PER_SECOND[column.type.unit]
    return [None if v is None else Seconds(v / per_second, "instant") for v in _integers(column)]


def _durations(column: Any) -> list[Any]:
    per_second = _PER_SECOND[column.type.unit]
    return [None if v is None else Seconds(v / per_second, "duration") for v in _integers(column)]


def _times_of_day(column: Any) -> list[Any]:
    per_second = _PER_SECOND[column.type.unit]
    return [None if v is None else Seconds(v / per_second, "day") for v in _integers(column)]


def _dates(column: Any) -> list[Any]:
    scale = _DAY if is_type.is_date32(column.type) else 1e-3
    return [None if v is None else Seconds(v * scale, "date") for v in _integers(column)]


def _integers(column: Any) -> list[int | None]:
    values: list[int | None] = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64()).to_pylist()
    return values


def _interval(value: Any) -> Seconds | Unreadable:
    """A duration, unless it has months, which have no length."""
    if value.months:
        return Unreadable("interval of months")
    return Seconds(value.days * _DAY + value.nanoseconds / 1e9, "duration")


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _extension(column: Any) -> list[Any]:
    if column.type.extension_name == "arrow.uuid":
        return [None if v is None else str(uuid.UUID(bytes=v)) for v in column.storage.to_pylist()]
    return plain_values(column.storage)


def _struct(column: Any) -> list[Any]:
    names = [field.name for field in column.type]
    children = [plain_values(child) for child in column.flatten()]
    rows = zip(*children, strict=True) if children else ((),) * len(column)
    valid = column.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if v else None for row, v in zip(rows, valid, strict=True)]


def _is_bytes(kind: Any) -> bool:
    return bool(
        is_type.is_binary(kind) or is_type.is_large_binary(kind) or is_type.is_fixed_size_binary(kind)
        or is_type.is_binary_view(kind)
    )  # fmt: skip


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]], ...] = (
    (is_type.is_dictionary, lambda c: plain_values(c.dictionary_decode())),
    (is_type.is_run_end_encoded, lambda c: plain_values(pc.run_end_decode(c))),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), _extension),
    (is_type.is_timestamp, _timestamps),
    (is_type.is_duration, _durations),
    (is_type.is_time, _times_of_day),
    (is_type.is_date, _dates),
    (is_type.is_interval, lambda c: _cells(c, _interval)),
    (is_type.is_float16, lambda c: _cells(c, lambda v: math.nan if v != v else float(v))),  # noqa: PLR0124 - a NaN
    (_is_bytes, lambda c: _cells(c, _text_or_bytes)),
    (is_type.is_map, lambda c: _cells(c, dict)),
    (is_type.is_struct, _struct),
)
"""The first that matches converts. All others are as pyarrow has them."""
