"""When a request came: units that are recognised or refused, times that are read, and those that are not believed."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.row_files import write

from rankd.datafiles import Seconds, Unreadable, UnusableRowError
from rankd.errors import ConfigError
from rankd.replay.trace.arrival import UNITS, ArrivalClock
from rankd.replay.trace.files import TraceSelection, read_trace

EPOCH = 1_700_000_000
ROW = {"input_tokens": 5, "output_tokens": 7}


def read(path, rows, **selection):
    return read_trace(TraceSelection([write(path, [{**ROW, **row} for row in rows])], **selection))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".jsonl.gz", ".parquet"])
@pytest.mark.parametrize("unit", UNITS)
def test_epochs_of_every_unit_are_recognised(tmp_path, unit, suffix):
    """Sixty requests in fifteen seconds of 2023 are that, whoever logged them; what was recognised is told."""
    per_second = round(1 / UNITS[unit])
    rows = [{"timestamp": EPOCH * per_second + i * per_second // 4} for i in range(60)]
    found = read(tmp_path / f"t{suffix}", rows)
    step = 1 if unit == "s" else 4
    assert found.trace.arrival == pytest.approx([i // 4 if step == 1 else i / 4 for i in range(60)], abs=1e-3)
    assert found.units == ({} if unit == "s" else {unit: 60})
    assert read(tmp_path / f"u{suffix}", rows, unit=unit).trace.arrival.tolist() == found.trace.arrival.tolist()


def test_units_may_be_mixed_in_a_file(tmp_path):
    """A number is an epoch of this century in one unit only."""
    rows = [{"timestamp": t} for t in (EPOCH, (EPOCH + 1) * 10**3, f"{(EPOCH + 2) * 10**6}", (EPOCH + 3) * 10**9)]
    found = read(tmp_path / "t.jsonl", rows)
    assert found.trace.arrival == pytest.approx([0, 1, 2, 3], abs=1e-3)
    assert found.units == {"ms": 1, "us": 1, "ns": 1}


@pytest.mark.parametrize(
    ("value", "unit", "remedy"),
    [
        (EPOCH * 1000, "s", "give --time-unit ms"),
        (EPOCH * 10**6, "ms", "give --time-unit us"),
        (EPOCH * 10**9, "s", "give --time-unit ns"),
        (5 * 10**9, None, "--time-unit takes s, ms, us, ns"),
        (20_231_116_181_703, None, "--time-unit takes s, ms, us, ns"),
        (-EPOCH * 1000, None, "--time-unit takes s, ms, us, ns"),
        (2**63, "ns", "--time-unit takes s, ms, us, ns"),
    ],
)
def test_a_time_of_no_sensible_year_is_refused_with_the_remedy(value, unit, remedy):
    with pytest.raises(UnusableRowError, match=f"^`at` is of no sensible year in {unit or 's'}.*{remedy}"):
        ArrivalClock(unit).take(value, "at")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20Z", 0),
        ("2023-11-14 22:13:20", 0),
        ("  2023-11-14T22:13:20.5z ", 0.5),
        ("2023-11-14 22:13:20,250", 0.25),
        ("2023-11-14 22:13:20.123456789", 0.123456),
        ("2023-11-14 22:13:20 UTC", 0),
        ("2023-11-14 23:13:20 +01:00", 0),
        ("2023-11-15T03:43:20+0530", 0),
        ("2023-11-14 14:13:20-08", 0),
        ("2023/11/14 22:13:20", 0),
        ("20231114T221320Z", 0),
        ("2023-11-14T23:13:20+01:00[Europe/Berlin]", 0),
        (b"2023-11-14T22:13:20Z", 0),
        ("1700000000", 0),
        (" 1700000000.25 ", 0.25),
        ("1.7e9", 0),
        (Decimal("1700000000.5"), 0.5),
        (Seconds(EPOCH + 0.125, "instant"), 0.125),
    ],
)
def test_times_that_are_read(text, seconds):
    assert ArrivalClock(None).take(text, "at") == pytest.approx(EPOCH + seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("soon", "is neither a number nor an ISO time"),
        ("14/11/2023 22:13:20", "is neither a number nor an ISO time"),
        ("Tue, 14 Nov 2023 22:13:20 GMT", "is neither a number nor an ISO time"),
        ("2023-11-14 22:13:20 EST", "is neither a number nor an ISO time"),
        ("1_700_000_000", "is neither a number nor an ISO time"),
        ("9" * 500, "is neither a number nor an ISO time"),
        ("\ud800", "is neither a number nor an ISO time"),
        (b"\xff", "is neither a number nor an ISO time"),
        (True, "is neither a number nor an ISO time"),
        ([1], "is neither a number nor an ISO time"),
        (Unreadable("interval"), "is neither a number nor an ISO time"),
        ("2023-11-14", "is a date without a time of day"),
        ("2023-W46-2", "is a date without a time of day"),
        (Seconds(19_000 * 86_400, "date"), "is a date without a time of day"),
        ("0001-01-01T00:00:00", "is not of the years 2000 to 2099"),
        ("1970-01-20T16:13:20Z", "is not of the years 2000 to 2099"),
        ("9999-12-31T23:59:59+14:00", "is not of the years 2000 to 2099"),
        (Seconds(1e13, "instant"), "is not of the years 2000 to 2099"),
        (Seconds(2e8, "duration"), "is more than three years after the start"),
        (math.inf, "is not a finite number"),
        ("-Infinity", "is not a finite number"),
        (10**400, "is not a finite number"),
    ],
)
def test_times_that_are_not(value, reason):
    with pytest.raises(UnusableRowError, match=f"^`my time` {reason}"):
        ArrivalClock(None).take(value, "my time")


def test_a_trace_has_one_clock(tmp_path):
    """A date among seconds since a start would make decades of it."""
    found = read(tmp_path / "t.jsonl", [{"t_s": t} for t in (0, 1, EPOCH, "2023-11-14T22:13:20Z", 4)])
    assert found.trace.arrival.tolist() == [0, 1, 4]
    assert found.skipped == {"`t_s` is a date, and the first one is seconds since a start": 2}


@pytest.mark.parametrize(
    "times", [pa.array([86_398, 86_399, 1, 3], pa.time32("s")), ["23:59:58", "23:59:59", "00:00:01", "00:00:03.0"]]
)
def test_times_of_day_go_on_past_midnight(tmp_path, times):
    pq.write_table(pa.table({"time": times, **{k: [v] * 4 for k, v in ROW.items()}}), tmp_path / "t.parquet")
    assert read_trace(TraceSelection([tmp_path / "t.parquet"])).trace.arrival.tolist() == [0, 1, 3, 5]


@pytest.mark.parametrize("digits", [10, 5, 2])
def test_days_as_excel_counts_them_are_refused(tmp_path, digits):
    rows = [{"timestamp": round(45_244.9259259259 + i / 86_400, digits)} for i in range(50)]
    with pytest.raises(ConfigError, match=r"Excel.*--time-unit s"):
        read(tmp_path / "t.csv", rows)
    assert len(read(tmp_path / "t.csv", rows, unit="s").trace) == 50


def test_so_are_dates_without_hyphens(tmp_path):
    with pytest.raises(ConfigError, match=r"dates.*time of day"):
        read(tmp_path / "t.csv", [{"timestamp": day} for day in (20_240_130, 20_240_131, 20_240_201)])


def test_seconds_are_no_dates():
    """Ten hours of a trace in seconds, with digits as clocks give them."""
    clock, random = ArrivalClock(None), np.random.default_rng(0)
    arrivals = np.sort(random.uniform(0, 72_000, 500))
    for values in (arrivals, 36_600 + arrivals / 3, np.rint(arrivals), np.round(36_600 + arrivals / 3, 3)):
        clock.check(np.array([clock.take(float(v), "t") for v in values]))


def test_whole_numbers_that_were_taken_for_seconds_are_told(tmp_path):
    """They may be milliseconds; nobody can see it."""
    rows = [{"timestamp": t} for t in (0, 27_000, 29_000)]
    assert read(tmp_path / "t.csv", rows).whole_seconds
    assert not read(tmp_path / "t.csv", rows, unit="s").whole_seconds
    assert not read(tmp_path / "t.csv", [{"timestamp": t} for t in (0.5, 1, 2)]).whole_seconds


@pytest.mark.parametrize(("given", "likely"), [("ms", "s"), ("us", "ms"), ("ns", "us"), ("us", "s"), ("ns", "ms")])
def test_a_unit_that_makes_a_burst_of_dates_is_doubted(tmp_path, given, likely):
    """Seconds of 2023 that are called milliseconds are three weeks since a start, and all at once."""
    rows = [{"timestamp": (EPOCH + i) / UNITS[likely]} for i in range(60)]
    assert read(tmp_path / "t.csv", rows, unit=given).likely_unit == likely
    assert read(tmp_path / "t.csv", rows, unit=likely).likely_unit is None
    assert read(tmp_path / "t.csv", [{"timestamp": 0}, *rows], unit=given).likely_unit is None


@pytest.mark.parametrize("span", [15, 2000])
@pytest.mark.parametrize("unit", UNITS)
def test_epochs_that_lost_their_digits_are_told(tmp_path, unit, span):
    """In float32 an epoch has steps of two minutes, whatever its unit; in a float64 it has all it needs."""
    epochs = (EPOCH + np.linspace(0, span, 200)) / UNITS[unit]
    steps = {}
    for kind in (np.float32, np.float64):
        rows = [{"timestamp": float(kind(t))} for t in epochs]
        steps[kind] = read(tmp_path / "t.csv", rows).coarse_step
    assert steps[np.float64] is None
    assert steps[np.float32] is not None
    assert steps[np.float32] >= 128


def test_epochs_as_spreadsheets_write_them_are_told(tmp_path):
    """With six digits, of which none is left for seconds; whole seconds, and bursts of them, are usual."""
    texts = [f"{EPOCH * 1000 + i * 250:.5E}" for i in range(60)]
    assert read(tmp_path / "t.csv", [{"timestamp": t} for t in texts]).coarse_step == math.inf
    seconds = [{"timestamp": EPOCH + i // 20} for i in range(60)]
    assert read(tmp_path / "t.csv", seconds).coarse_step is None


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 30)), st.sampled_from(list(UNITS)))  # noqa: DTZ001
def test_any_time_of_this_century_is_the_same_in_every_spelling(when, unit):
    """As text, as an epoch of any unit, as Parquet has it."""
    at = (when.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    for value in (when.isoformat(" "), f"{when.isoformat()}Z", at / UNITS[unit], Seconds(at, "instant")):
        assert ArrivalClock(None).take(value, "at") == pytest.approx(at, abs=1e-3)
