"""What a row's values mean, whatever format and spelling they come in: limits, finish reasons, lengths, names."""

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.row_files import write

from rankd.datafiles import UnusableRowError
from rankd.training.data.dataset import bounds_text, read_dataset
from rankd.training.data.row import row_of

NO_LIMIT = [
    None, math.nan, "", " ", "null", "None", "NaN", "n/a", "-", "inf", "Infinity", "unlimited", "-1", "0", "1e400",
    0, -1, -1.0, math.inf, -math.inf, 2**31 - 1, 2**31, 2**63 - 1, 2**64 - 1, 1e30, 10**400, "2147483647",
    Decimal(-1), Decimal("NaN"), Decimal("Infinity"), b"none", b"-1",
    "no_limit", "no-limit", "No Limit", "unbounded", "NOT_GIVEN", "not set", "default", "auto", "model_max", "∞", "off",
    "(null)", "<none>", "[]", "{}", "?", False, {}, [], b"no_limit",
]  # fmt: skip
LIMITS = [100, 100.0, "100", " 100 ", "100.0", b"100", Decimal("100.00"), "1e2"]


def row(**fields):
    return row_of({"prompt": "a", "output_tokens": 100, **fields}, "stem", {})


@pytest.mark.parametrize("limit", NO_LIMIT, ids=repr)
def test_every_spelling_of_no_limit_is_none(limit):
    """A length without a reason and without a limit is known."""
    assert row(max_tokens=limit).complete


@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_every_spelling_of_a_limit_is_one(limit):
    """An answer that reached it was cut by it."""
    assert not row(max_tokens=limit).complete


@pytest.mark.parametrize("limit", ["many", "12.5", 12.5, True, [100], {"a": 1}, "100 tokens", b"\xff"], ids=repr)
def test_what_is_no_limit_and_no_word_for_none_is_named(limit):
    with pytest.raises(UnusableRowError, match=r"^`max_tokens` is neither a whole number nor a word for no limit$"):
        row(max_tokens=limit)


@pytest.mark.parametrize(
    "reason", ["completed", "COMPLETE", "tool", "STOP", "Eos_Token", "FINISH_REASON_STOP", b"stop"]
)
def test_reasons_of_answers_that_ended_by_themselves(reason):
    found = row(finish_reason=reason)
    assert (found.complete, found.is_reason_known) == (True, True)


@pytest.mark.parametrize("reason", ["max_output_tokens", "LENGTH", "error", "repetition", "MAX_TOKENS", "cancelled"])
def test_reasons_of_answers_that_were_cut(reason):
    found = row(finish_reason=reason)
    assert (found.complete, found.is_reason_known) == (False, True)


@pytest.mark.parametrize("reason", ["tired", 3, ["stop"], True, "the model had said it all"])
def test_an_unknown_reason_is_a_lower_bound_that_is_counted(reason):
    found = row(finish_reason=reason)
    assert (found.complete, found.is_reason_known) == (False, False)


@pytest.mark.parametrize("reason", [None, "", "null", "None", math.nan, "NaN"])
def test_no_reason_is_no_reason(reason):
    """The length is known, unless a limit says otherwise."""
    assert row(finish_reason=reason).complete
    assert not row(finish_reason=reason, max_tokens=100).complete


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".csv.gz", ".parquet"])
def test_no_answer_is_dropped_for_its_reason(tmp_path, suffix):
    """The longest ones are cut ones, and are what a ranker needs most."""
    reasons = ["stop", "max_output_tokens", "COMPLETE", "odd", "", "repetition"]
    rows = [{"prompt": f"p{i}", "output_tokens": i + 1, "finish_reason": reasons[i % 6]} for i in range(300)]
    found = read_dataset([write(tmp_path / f"log{suffix}", rows)])
    assert (len(found.rows), dict(found.skipped), found.unknown_reasons) == (300, {}, 50)
    assert [r.complete for r in found.rows[:6]] == [True, False, True, False, True, False]
    assert bounds_text(found) == "50 with an unknown finish_reason, taken for lower bounds"


@pytest.mark.parametrize(
    "fields",
    [
        {"output_tokens": 7.0},
        {"output_tokens": "7"},
        {"output_tokens": Decimal("7.000")},
        {"output_token_count": math.nan, "output_tokens": 7},
        {"output_token_count": "null", "output_tokens": " 7 "},
        {"output_token_count": None, "completion_tokens": 7},
        {"usage.completion_tokens": 7},
        {"usage.output_tokens": b"7"},
    ],
    ids=repr,
)
def test_a_length_is_found_where_it_stands(fields):
    """Columns without a value give way to the next one."""
    assert row_of({"prompt": "a", **fields}, "stem", {}).tokens == 7


def test_names_that_are_none():
    """What pandas and CSV write for nothing names nobody; the source is then the file."""
    for nothing in (None, math.nan, "NaN", "None", "null", "-", " ", "<NA>"):
        found = row(model=nothing, source=nothing)
        assert (found.model, found.source) == ("", "stem")
    assert row(model=b"m", source=7).group == ("7", "m")


def test_prompts_are_taken_at_their_word():
    """People do send "null"."""
    assert [row(prompt=text).prompt for text in ("null", "-", "NaN", b"None")] == ["null", "-", "NaN", "None"]
    for nothing in (None, math.nan):
        with pytest.raises(UnusableRowError, match=r"^no prompt$"):
            row(prompt=nothing)


def test_parquet_as_pandas_and_spark_write_it(tmp_path):
    """Integers with nulls as floats with NaN, text as dictionaries and bytes, decimals, maps and structs."""
    table = pa.table(
        {
            "prompt": pa.array([b"one", b"two", b"three", b"four"], pa.large_binary()),
            "output_tokens": pa.array([5.0, math.nan, 7.0, 8.5]),
            "usage": [None, {"completion_tokens": 6}, None, None],
            "max_tokens": pa.array([None, 6, 2**31 - 1, 3], pa.decimal128(20, 2)),
            "model": pa.array(["m", "m", None, "m"]).dictionary_encode(),
            "samples": pa.array([[("a", 5), ("b", 9)], None, None, None], pa.map_(pa.string(), pa.int64())),
            "finish_reason": pa.array([b"stop", None, None, None]),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    found = read_dataset([tmp_path / "log.parquet"])
    assert [(r.prompt, r.tokens, r.complete, r.model, r.samples) for r in found.rows] == [
        ("one", 5, True, "m", (9,)), ("two", 6, False, "m", ()), ("three", 7, True, "", ()),
    ]  # fmt: skip
    assert found.skipped == {"`output_tokens` is not a whole number": 1}
    assert found.first["`output_tokens` is not a whole number"] == f"{tmp_path / 'log.parquet'} row 4"
