"""What Parquet's types become: every one a plain value, or a marker for one cell; never an error for a column."""

import math
import subprocess
import sys
import textwrap
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.subprocesses import environment

from rankd.datafiles import Seconds, Unreadable, raw_rows
from rankd.datafiles.arrow_values import plain_values

NANOS = 1_700_000_000_123_456_789
_EXTENSIONS = (
    [
        (pa.array([uuid.UUID(int=7).bytes, None], pa.uuid()), [str(uuid.UUID(int=7)), None]),
        (pa.array(['{"a": 1}'], pa.json_(pa.string())), ['{"a": 1}']),
    ]
    if hasattr(pa, "json_")  # from pyarrow 19 on
    else []
)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30", "Mars/Base", ""])
@pytest.mark.parametrize("unit", PER_SECOND)
def test_timestamps_are_seconds_whatever_their_unit_and_zone(unit, zone):
    """Digits below a microsecond, a zone that nobody knows, and years that Python lacks, cost no row."""
    count = NANOS // (10**9 // PER_SECOND[unit])
    column = pa.array([count, None, 2**62, -(2**62)], pa.timestamp(unit, tz=zone))
    at, none, late, early = plain_values(column)
    assert at == Seconds(count / PER_SECOND[unit], "instant")
    assert at.value == pytest.approx(NANOS / 1e9, abs=1 if unit == "s" else 1e-3)
    assert none is None
    assert late.value == -early.value == 2**62 / PER_SECOND[unit]


@pytest.mark.parametrize("unit", PER_SECOND)
def test_durations_are_seconds(unit):
    column = pa.array([1_500 * PER_SECOND[unit] + 1, None], pa.duration(unit))
    assert plain_values(column) == [Seconds(1500 + 1 / PER_SECOND[unit], "duration"), None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([3_723, None], pa.time32("s")), [Seconds(3723.0, "day"), None]),
        (pa.array([3_723_004], pa.time32("ms")), [Seconds(3723.004, "day")]),
        (pa.array([3_723_000_001], pa.time64("us")), [Seconds(3723.000001, "day")]),
        (pa.array([3_723_000_000_001], pa.time64("ns")), [Seconds(3723.000000001, "day")]),
        (pa.array([19_000, None], pa.date32()), [Seconds(19_000 * 86_400, "date"), None]),
        (pa.array([19_000 * 86_400_000], pa.date64()), [Seconds(19_000 * 86_400.0, "date")]),
        (pa.array([pa.MonthDayNano([0, 1, 500_000_000]), None]), [Seconds(86_400.5, "duration"), None]),
        (pa.array([pa.MonthDayNano([2, 1, 5])]), [Unreadable("interval of months")]),
        (pa.array([NANOS, None], pa.timestamp("ns")).dictionary_encode(), [Seconds(NANOS / 1e9, "instant"), None]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], [7, 8]), [7, 7, 8]),
        (pa.array([Decimal("12.000"), None], pa.decimal128(30, 3)), [Decimal(12), None]),
        (pa.array([Decimal("1e70")], pa.decimal256(76, 2)), [Decimal("1e70")]),
        (pa.array(np.array([5, 0.5], np.float16)), [5.0, 0.5]),
        (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        (pa.array(["é", None], pa.large_string()), ["é", None]),
        (pa.array(["é", None], pa.string_view()), ["é", None]),
        (pa.array(["é".encode(), b"\xff", None], pa.binary_view()), ["é", b"\xff", None]),
        (pa.array([b"ab"], pa.binary(2)), ["ab"]),
        (pa.array([b"ab", b"\xff"], pa.large_binary()), ["ab", b"\xff"]),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), [[1, 2], None]),
        (pa.array([[("t", 5)], None], pa.map_(pa.string(), pa.int64())), [{"t": 5}, None]),
        (pa.array([{"a": 1, "at": None}, None], pa.struct({"a": pa.int8(), "at": pa.timestamp("ns")})),
         [{"a": 1, "at": None}, None]),
        (pa.nulls(2), [None, None]),
        *_EXTENSIONS,
        (pa.array([], pa.struct([])), []),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_every_type_has_a_plain_value(column, expected):
    assert plain_values(column) == expected


def test_a_struct_keeps_digits_below_a_microsecond():
    """What is inside is read as what is outside."""
    kind = pa.struct({"at": pa.timestamp("ns", tz="Mars/Base")})
    assert plain_values(pa.array([{"at": NANOS}], kind)) == [{"at": Seconds(NANOS / 1e9, "instant")}]


def test_what_pyarrow_cannot_make_costs_one_cell():
    """A list of times that Python cannot hold is a marker in its own row."""
    good, bad = plain_values(pa.array([[1_000], [NANOS]], pa.list_(pa.timestamp("ns"))))
    assert isinstance(good, list)
    assert bad == Unreadable("list<item: timestamp[ns]>")


def test_half_floats_that_are_no_number():
    (found,) = plain_values(pa.array(np.array([np.nan], np.float16)))
    assert math.isnan(found)


WITHOUT_PANDAS = """
    import sys
    sys.modules["pandas"] = None
    from pathlib import Path
    from rankd.datafiles import raw_rows
    print([row["at"].value for _, row in raw_rows(Path(sys.argv[1]), lambda _, names: names, lambda _: None)])
"""


def test_pandas_is_not_needed(tmp_path):
    """Only with it does pyarrow make something of nanoseconds by itself."""
    pq.write_table(pa.table({"at": pa.array([NANOS, NANOS + 10**9], pa.timestamp("ns"))}), tmp_path / "a.parquet")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_PANDAS), tmp_path / "a.parquet"],
        capture_output=True, text=True, check=True, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == str([NANOS / 1e9, NANOS / 1e9 + 1])


def test_fields_of_a_struct_are_columns(tmp_path):
    """``usage.output_tokens``, alone or beside the whole; a flat column may be called so too."""
    usage = [{"output_tokens": 5, "input_tokens": 3}, None]
    pq.write_table(pa.table({"usage": usage, "a.b": [1, 2], "other": [0, 0]}), tmp_path / "a.parquet")
    seen = []

    def check(_, names):
        seen.extend(names)
        return ["usage.output_tokens", "a.b"]

    rows = [row for _, row in raw_rows(tmp_path / "a.parquet", check, lambda _: None)]
    assert set(seen) == {"usage", "usage.input_tokens", "usage.output_tokens", "a.b", "other"}
    assert rows == [{"usage.output_tokens": 5, "a.b": 1}, {"usage.output_tokens": None, "a.b": 2}]
