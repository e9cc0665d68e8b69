"""Traces from files: every format and naming, hostile rows, and the daemon's completion log."""

import gzip
import json
import math
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.log_rows import completion_row, prompt_row, write_segment
from support.row_files import write

from rankd.completion_log.store import LocalStore
from rankd.datafiles import UnusableRowError
from rankd.errors import ConfigError
from rankd.replay.trace.arrival import ArrivalClock
from rankd.replay.trace.fields import request_of
from rankd.replay.trace.files import TraceSelection, read_trace
from rankd.replay.trace.names import columns_of
from rankd.replay.trace.trace import Trace
from rankd.types import Scored

ROWS = [{"t_s": 0.5 * i, "input_tokens": 10 + i, "output_tokens": 1 + i % 7} for i in range(30)]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_every_format_gives_the_same_trace(tmp_path, name):
    """The same rows in CSV, JSON lines and Parquet, plain and gzipped, are the same trace."""
    trace = read_trace(TraceSelection([write(tmp_path / name, ROWS)])).trace
    assert trace.arrival.tolist() == [r["t_s"] for r in ROWS]
    assert trace.prompt.tolist() == [r["input_tokens"] for r in ROWS]
    assert trace.output.tolist() == [r["output_tokens"] for r in ROWS]
    assert trace.score is None
    assert trace.tenant is None
    assert trace.priority_class is None


@pytest.mark.parametrize(
    ("row", "unit"),
    [
        ({"TIMESTAMP": "2023-11-16 18:17:03.9799600", "ContextTokens": 374, "GeneratedTokens": 44}, "s"),
        ({"timestamp": 27_000, "input_length": 374, "output_length": 44, "hash_ids": [1]}, "ms"),
        ({"Timestamp": 5, "Model": "m", "Request tokens": 374, "Response tokens": 44}, "s"),
        ({"arrival": "2024-05-01T00:00:00Z", "prompt_tokens": 374, "completion_tokens": 44}, "s"),
    ],
)
def test_names_of_published_traces_are_known(tmp_path, row, unit):
    """The columns of Azure's, Mooncake's, BurstGPT's traces and of the usual API need no renaming."""
    later = dict(row)
    key = next(k for k in row if k.lower() in ("timestamp", "arrival"))
    later[key] = {"s": 7, "ms": 29_000}[unit] if not isinstance(row[key], str) else row[key].replace("0", "0", 1)
    read = read_trace(TraceSelection([write(tmp_path / "t.jsonl", [row, later])], unit=unit))
    assert (read.trace.prompt[0], read.trace.output[0]) == (374, 44)
    assert read.trace.arrival[0] == 0
    assert read.trace.arrival[1] == (0 if isinstance(row[key], str) else 2)


@pytest.mark.parametrize(
    ("row", "prompt", "cached"),
    [
        ({"input_tokens": 374, "cached_tokens": 300}, 374, 300),
        ({"Prompt Tokens": 374, "num-cached-tokens": 374}, 374, 374),
        ({"prompt_token_count": 374, "cached_prompt_token_count": 0}, 374, 0),
        ({"prompt_tokens": 374, "prompt_tokens_details": {"cached_tokens": 256, "audio_tokens": 0}}, 374, 256),
        ({"usage": {"prompt_tokens": 374, "prompt_tokens_details": {"cached_tokens": 256}}}, 374, 256),
        ({"usage": {"input_tokens": 374, "input_tokens_details": {"cached_tokens": 8}}}, 374, 8),
        ({"usage": {"prompt_tokens": 374, "prompt_tokens_details": None}}, 374, 0),
        ({"usage": {"prompt_tokens": 374, "prompt_cache_hit_tokens": 64}}, 374, 64),
        ({"usage": {"input_tokens": 74, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 100}}, 374, 200),
        ({"input_tokens": 74, "cache_read_input_tokens": 300, "cache_creation_input_tokens": None}, 374, 300),
        ({"input_tokens": 374, "cached_tokens": None}, 374, 0),
    ],
)
def test_cached_prompt_tokens_by_the_names_that_apis_give_them(tmp_path, row, prompt, cached):
    """OpenAI's, vLLM's, DeepSeek's, rankd's own, and Anthropic's, whose input tokens leave cached ones out."""
    rows = [{"t_s": 1, "output_tokens": 2} | row, {"t_s": 2, "output_tokens": 2, "input_tokens": 9, "cached_tokens": 3}]
    trace = read_trace(TraceSelection([write(tmp_path / "t.jsonl", rows)])).trace
    assert (trace.prompt.tolist(), trace.cached.tolist()) == ([prompt, 9], [cached, 3])
    assert trace.uncached.tolist() == [prompt - cached, 6]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_cached_tokens_stay_with_their_request(tmp_path, name):
    """In every format, in the order of arrivals; where nothing is cached there is no column."""
    rows = [r | {"t_s": -r["t_s"], "cached_tokens": i % 9} for i, r in enumerate(ROWS)]
    trace = read_trace(TraceSelection([write(tmp_path / name, rows)])).trace
    assert trace.cached.tolist() == [i % 9 for i in reversed(range(30))]
    assert trace.first(4).cached.tolist() == trace.cached[:4].tolist()
    assert trace.faster(2.0).burst().cached.tolist() == trace.cached.tolist()
    none = write(tmp_path / f"none-{name}", [r | {"cached_tokens": 0} for r in ROWS])
    assert read_trace(TraceSelection([none])).trace.cached is None


def test_of_made_up_input_tokens_no_more_are_cached_than_there_are(tmp_path):
    """Where input tokens are a guess, or a flag's, cached ones are right and the guess is short: all are cached."""
    rows = [{"t_s": 1, "output_tokens": 2, "prompt": "x" * 40, "cached_tokens": 64}]
    path = write(tmp_path / "t.jsonl", rows)
    assert read_trace(TraceSelection([path])).trace.cached.tolist() == [10]
    assert read_trace(TraceSelection([path], input_tokens=100)).trace.cached.tolist() == [64]


def test_arrivals_are_sorted_and_begin_at_nought(tmp_path):
    """Rows may come in any order and on any clock; several files are one timeline."""
    a = write(
        tmp_path / "a.jsonl", [{"t_s": t, "input_tokens": 1, "output_tokens": 2} for t in (1700000005, 1700000001)]
    )
    b = write(tmp_path / "b.jsonl", [{"t_s": 1700000003, "input_tokens": 1, "output_tokens": 9}])
    trace = read_trace(TraceSelection([a, b])).trace
    assert trace.arrival.tolist() == [0.0, 2.0, 4.0]
    assert trace.output.tolist() == [2, 9, 2]


def test_parquet_times_are_times(tmp_path):
    """Arrow timestamps, with and without a zone, are seconds."""
    times = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 0, 1, tzinfo=UTC)]
    for number, zone in enumerate(("UTC", None)):
        column = pa.array([t.replace(tzinfo=UTC if zone else None) for t in times], pa.timestamp("us", tz=zone))
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"arrival": column, "input_tokens": [1, 2], "output_tokens": [3, 4]}), path)
        assert read_trace(TraceSelection([path])).trace.arrival.tolist() == [0.0, 60.0]


BAD = [
    ({"t_s": "soon"}, "`t_s` is neither a number nor an ISO time"),
    ({"t_s": None}, "no arrival"),
    ({"t_s": 1e300}, "`t_s` is of no sensible year in s (--time-unit takes s, ms, us, ns)"),
    ({"t_s": math.nan}, "no arrival in `t_s`"),
    ({"t_s": -math.inf}, "`t_s` is not a finite number"),
    ({"t_s": True}, "`t_s` is neither"),
    ({"output_tokens": 0}, "`output_tokens` is below 1"),
    ({"output_tokens": -5}, "`output_tokens` is below 1"),
    ({"output_tokens": 2.5}, "`output_tokens` is not a whole number"),
    ({"output_tokens": 10**400}, "`output_tokens` is above"),
    ({"output_tokens": "many"}, "`output_tokens` is not a whole number"),
    ({"output_tokens": [1]}, "`output_tokens` is not a whole number"),
    ({"input_tokens": -1}, "`input_tokens` is below 0"),
    ({"input_tokens": math.nan}, "no input tokens"),
    ({"input_tokens": None}, "no input tokens"),
    ({"cached_tokens": -1}, "`cached_tokens` is below 0"),
    ({"cached_tokens": 2.5}, "`cached_tokens` is not a whole number"),
    ({"cached_tokens": "many"}, "`cached_tokens` is not a whole number"),
    ({"cached_tokens": 99}, "`cached_tokens` is above `input_tokens`"),
    ({"cached_tokens": 10**400}, "`cached_tokens` is above 10,000,000"),
    ({"cache_read_input_tokens": -3}, "`cache_read_input_tokens` is below 0"),
    ({"score": "high"}, "`score` is not a finite number"),
    ({"score": math.inf}, "`score` is not a finite number"),
    ({"class": 1.5}, "`class` is not a whole number"),
    ({"class": 10**9}, "`class` is not a whole number"),
    ({"prompt": 7}, "prompt is not text"),
    ({"prompt": "\ud800"}, "prompt is not UTF-8"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_bad_rows_are_counted_with_where_they_stand(tmp_path, change, reason):
    """A row that cannot be used is skipped, counted by reason, and its first place is told; the others are used."""
    read = read_trace(
        TraceSelection([write(tmp_path / "t.jsonl", [ROWS[0], ROWS[1] | change, ROWS[2], ROWS[3] | change])])
    )
    assert len(read.trace) == 2
    ((found, count),) = read.skipped.items()
    assert reason in found
    assert count == 2
    assert read.first[found] == f"{tmp_path / 't.jsonl'} line 2"


def test_what_is_no_row_is_counted_too(tmp_path):
    """Lines that are no JSON, no object, no UTF-8, or endless, cost nothing but themselves."""
    path = tmp_path / "t.jsonl"
    good = json.dumps(ROWS[0]).encode()
    path.write_bytes(b"\n".join([good, b"{", b"[1]", b"\xff\xfe", b"", good, b'"text"', good]))
    read = read_trace(TraceSelection([path]))
    assert len(read.trace) == 3
    assert sum(read.skipped.values()) == 4
    assert read.read == 7


def test_a_gzip_that_breaks_off_is_used_up_to_there(tmp_path):
    """What was written before a crash counts."""
    lines = "".join(json.dumps(r) + "\n" for r in ROWS * 400).encode()
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    read = read_trace(TraceSelection([path]))
    assert 0 < len(read.trace) < 12_000
    assert any("breaks off" in reason for reason in read.skipped)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n", r"t\.csv line 1: no column with arrival: name one `arrival`, `t_s`.*it has: a, b"),
        ("t.csv", "t_s,input_tokens\n1,2\n", r"line 1: no column with output tokens: name one `output_tokens`"),
        ("t.csv", "t_s,output_tokens\n1,2\n", r"t\.csv line 2.*|--input-tokens"),
        ("t.csv", "", r"no rows in .*t\.csv: a row needs arrival"),
        ("t.jsonl", "[{}]", r"is a JSON array"),
        (
            "t.jsonl",
            "{}\n{}\n",
            r"among 2 in .*: 2 no arrival \(--burst needs none\) \(first: .*t\.jsonl line 1\)",
        ),
        ("t.parquet", "nonsense", r"is not Parquet"),
        ("t.csv.gz", "t_s,input_tokens,output_tokens\n", r"is not gzip"),
        ("t.txt", "1 2 3", r"rename it if it is one of these"),
    ],
)
def test_files_that_are_none_say_what_to_do(tmp_path, name, text, message):
    """Each error names the file, the line where there is one, the field, and the remedy."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_trace(TraceSelection([path]))


def test_paths_that_are_none(tmp_path):
    """No such file, a directory without a log."""
    with pytest.raises(ConfigError, match="no such file"):
        read_trace(TraceSelection([tmp_path / "none.csv"]))
    with pytest.raises(ConfigError, match="no completion log"):
        read_trace(TraceSelection([tmp_path]))


def test_input_tokens_may_be_given_or_taken_from_prompts(tmp_path):
    """Rows without input tokens take the flag's, or a quarter of the prompt's characters, which is told."""
    rows = [{"t_s": 1, "output_tokens": 2, "prompt": "x" * 41}, {"t_s": 2, "output_tokens": 2}]
    path = write(tmp_path / "t.jsonl", rows)
    read = read_trace(TraceSelection([path]))
    assert read.trace.prompt.tolist() == [11]
    assert read.estimated == 1
    assert read_trace(TraceSelection([path], input_tokens=7)).trace.prompt.tolist() == [7, 7]


def test_only_the_first_requests_are_read_and_kept(tmp_path):
    """Memory goes by the requests wanted, not by the file."""
    path = tmp_path / "t.csv"
    path.write_text("t_s,input_tokens,output_tokens,prompt\n" + f"1,2,3,{'x' * 1000}\n" * 20_000)
    tracemalloc.start()
    read = read_trace(TraceSelection([path], most=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(read.trace) == 100
    assert read.more
    assert peak < 4e6


def test_prompts_are_scored_in_batches_and_let_go(tmp_path):
    """Scores land on their own requests; NaN is none; texts are cut; scores in rows go before prompts."""
    rows = [{"t_s": 1200 - i, "input_tokens": 1, "output_tokens": 2, "prompt": "x" * (i + 1)} for i in range(1200)]
    seen = []

    def scorer(requests):
        seen.append(len(requests))
        lengths = [len(request.prompt) for request in requests]
        return [Scored(math.nan if n == 3 else float(n), b"%d" % n) for n in lengths]

    path = write(tmp_path / "t.jsonl", rows)
    trace = read_trace(TraceSelection([path]), scorer=scorer).trace
    assert seen == [512, 512, 176]
    assert trace.score[0] == 1200
    assert np.isnan(trace.score[-3])
    assert trace.features[0] == b"1200"
    assert trace.features[-1] == b"1"
    scored = write(tmp_path / "s.jsonl", [r | {"score": 5.0} for r in rows])
    assert set(read_trace(TraceSelection([scored]), scorer=scorer).trace.score.tolist()) == {5.0}
    assert read_trace(TraceSelection([scored]), scorer=scorer, keep_scores=False).trace.score[0] == 1200


def test_tenants_and_classes(tmp_path):
    """Names become numbers; one tenant is none; beyond a thousand they are counted together."""
    rows = [ROWS[0] | {"tenant": f"t{i % 1500}", "class": i % 3} for i in range(3000)]
    trace = read_trace(TraceSelection([write(tmp_path / "t.jsonl", rows)])).trace
    assert len(trace.tenants) == 1001
    assert trace.tenants[-1] == "others"
    assert np.bincount(trace.tenant)[-1] == 1000
    assert set(trace.priority_class.tolist()) == {0, 1, 2}
    assert (
        read_trace(TraceSelection([write(tmp_path / "u.jsonl", [ROWS[0] | {"tenant": "a"}] * 2)])).trace.tenant is None
    )


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers())))
def test_any_row_is_a_request_or_a_reason(raw):
    """Whatever a row holds, it becomes a request within bounds, or a reason; nothing else is raised."""
    raw = {"t_s": 1, "output_tokens": 1} | raw
    try:
        request = request_of(raw, columns_of(list(raw)), ArrivalClock(None))
    except UnusableRowError:
        return
    assert math.isfinite(request.arrival)
    assert request.output >= 1


@pytest.mark.parametrize(
    "bad",
    [
        {"arrival": np.array([1.0, 0.0])},
        {"arrival": np.array([0.0, np.nan])},
        {"output": np.array([1, 0])},
        {"prompt": np.array([-1, 0])},
        {"score": np.array([1.0])},
        {"cached": np.array([0, 2])},
        {"cached": np.array([-1, 0])},
        {"cached": np.array([0])},
    ],
)
def test_traces_check_themselves(bad):
    """A trace that no simulation can run on is refused by name."""
    good = {"arrival": np.array([0.0, 1.0]), "prompt": np.array([1, 1]), "output": np.array([1, 1])}
    with pytest.raises(ValueError, match=r"must be|entries for"):
        Trace(**(good | bad))


def test_the_completion_log_is_a_trace(tmp_path):
    """Arrivals, lengths and scores come from completions, input tokens from prompts; the newest count."""
    store = LocalStore(tmp_path)
    write_segment(store, [completion_row(i, 100.0 + i, 10 + i) for i in range(8)])
    write_segment(store, [completion_row(i, 200.0 + i, 10 + i) for i in range(8, 12)], at=2000.0)
    write_segment(store, [prompt_row(i, 100.0 + i, "y" * 40) for i in range(12)])
    read = read_trace(TraceSelection([tmp_path], input_tokens=3))
    assert len(read.trace) == 12
    assert set(read.trace.prompt.tolist()) == {10}
    assert read.trace.output.tolist() == list(range(10, 22))
    assert set(read.trace.score.tolist()) == {0.5}
    assert read_trace(TraceSelection([tmp_path], most=4)).trace.output.tolist() == [18, 19, 20, 21]


def test_a_log_of_several_models_wants_one_named(tmp_path):
    """One queue is one model's; reports told twice count once, the longer one."""
    store = LocalStore(tmp_path)
    write_segment(
        store, [completion_row(1, 100.0, 5), completion_row(1, 101.0, 9), completion_row(2, 102.0, 7, model="n")]
    )
    with pytest.raises(ConfigError, match="2 models: name one by --model"):
        read_trace(TraceSelection([tmp_path], input_tokens=1))
    read = read_trace(TraceSelection([tmp_path], input_tokens=1, model="m"))
    assert read.trace.output.tolist() == [9]
    assert read.skipped == {"completion reported twice": 1, "answered by another model": 1}
    with pytest.raises(ConfigError, match="no usable row"):
        read_trace(TraceSelection([tmp_path], model="m"))
