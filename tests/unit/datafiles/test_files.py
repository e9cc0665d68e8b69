"""Packed, cut and damaged files; the same rows in every format."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankd.datafiles import is_absent, number_of, raw_rows, whole_of
from rankd.errors import ConfigError

ROWS = [{"prompt": f"p{i}", "n": i} for i in range(3000)]
LINES = "".join(json.dumps(r) + "\n" for r in ROWS).encode()


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


def rows_of(path, names=("prompt", "n")):
    return [raw for _, raw in raw_rows(path, lambda *_: list(names), lambda _: None)]


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".jsonl", LINES), (".jsonl.gz", gzip.compress(LINES)), (".jsonl.zst", zstd(LINES)),
        (".jsonl.zst", zstd(LINES[:90]) + zstd(LINES[90:])), (".jsonl.gz", gzip.compress(LINES[:90]) * 1
         + gzip.compress(LINES[90:])),
    ],
)  # fmt: skip
def test_lines_are_the_same_packed_or_not(tmp_path, suffix, data):
    """Packed files may be several, one after another."""
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data)
    assert rows_of(path) == ROWS


def test_csv_in_zstd(tmp_path):
    (tmp_path / "t.csv.zst").write_bytes(zstd(b"prompt,n\na,1\nb,2\n"))
    assert rows_of(tmp_path / "t.csv.zst") == [{"prompt": "a", "n": "1"}, {"prompt": "b", "n": "2"}]


def test_a_cut_zstd_is_used_up_to_there(tmp_path):
    noise = random.Random(0)
    rows = [{"prompt": f"{noise.random()}", "n": i} for i in range(60_000)]
    whole = zstd("".join(json.dumps(r) + "\n" for r in rows).encode())
    path = tmp_path / "t.jsonl.zst"
    path.write_bytes(whole[: len(whole) // 2])
    found = rows_of(path)
    assert found[-1] == "file breaks off or is damaged (zstd); the rows before are used"
    good = [row for row in found if isinstance(row, dict)]
    assert 1000 < len(good) < 60_000
    assert good == rows[: len(good)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.jsonl", zstd(LINES), r"is zstd, .*add \.zst"),
        ("t.jsonl.zst", LINES, r"is not zstd, .*take \.zst off"),
        ("t.jsonl.zst", gzip.compress(LINES), r"is gzip, .*add \.gz|is not zstd"),
        ("t.parquet", gzip.compress(LINES), r"is gzip|is not Parquet"),
        ("t.parquet", b"PAR1" + b"\0" * 100 + b"\xff\xff\0\0PAR1", "is damaged"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_parquet_file_that_is_damaged_inside_says_so(tmp_path, part):
    """Never a traceback, never another cause."""
    path = tmp_path / "t.parquet"
    noise = random.Random(1)
    pq.write_table(pa.table({"prompt": [f"{noise.random()}" for _ in range(5000)], "n": range(5000)}), path)
    data = bytearray(path.read_bytes())
    at = int(len(data) * part)
    data[at : at + 400] = bytes(400)
    path.write_bytes(data)
    try:
        assert len(rows_of(path)) == 5000
    except ConfigError as error:
        assert "is damaged" in str(error)


@pytest.mark.parametrize(
    "value", ["", " ", "null", "NULL", "None", "NaN", "nat", "N/A", "-", "\\N", None, float("nan")]
)
def test_what_stands_for_nothing(value):
    assert is_absent(value)


@pytest.mark.parametrize("value", [0, "0", False, "nothing", "none of these", [], {}, "a" * 99, b"\xff"])
def test_what_does_not(value):
    assert not is_absent(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("7", 7), (" 7.0 ", 7.0), ("1e3", 1000.0), (str(2**63), 2**63), (b"8", 8), (True, None), ("1_0", None),
     ("0x10", None), ("7,5", None), ("9" * 999, None), ([7], None), ("inf", float("inf"))],
)  # fmt: skip
def test_numbers(value, number):
    """Large ones exact; no spelling that only Python has."""
    found = number_of(value)
    assert found == number
    assert type(found) is type(number)


def test_whole_numbers():
    assert [whole_of(v) for v in (7.0, "7", 7.5, "x", float("nan"), 2**70)] == [7, 7, None, None, None, 2**70]
