"""Rows to learn from: every format, every kind of bad row, bounded memory, drawing and splitting."""

import csv
import gzip
import json
import os
import random
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.errors import ConfigError
from rankd.training import dataset as dataset_module
from rankd.training.dataset import NEAR_CAP, Row, check_learnable, read_dataset, split
from rankd.training.parse import LONGEST_PROMPT

ROWS = [
    {"prompt": f"Write {i} words.", "output_token_count": 10 + i, "model": "m", "finish_reason": "stop"}
    for i in range(20)
]
EXPECTED = [Row(r["prompt"], r["output_token_count"], True, "log", "m") for r in ROWS]


def jsonl(rows):
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def write(path, rows):
    """Write rows in the format that a path's suffix names."""
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".csv" in path.name:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path
    path.write_bytes(gzip.compress(jsonl(rows)) if path.suffix == ".gz" else jsonl(rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet"])
def test_all_formats_give_the_same_rows(tmp_path, suffix):
    """The same rows come out of each format, in the order of the file."""
    read = read_dataset([write(tmp_path / f"log{suffix}", ROWS)])
    assert (read.rows, read.read, read.files, dict(read.skipped)) == (EXPECTED, 20, 1, {})


def test_directories_globs_and_files_are_read_once(tmp_path):
    """A directory, a glob and a file that name the same file count it once; other files in a directory are left."""
    path = write(tmp_path / "log.jsonl", ROWS)
    (tmp_path / "notes.txt").write_text("no rows")
    read = read_dataset([tmp_path, Path(f"{tmp_path}/*.jsonl"), path])
    assert (read.rows, read.files) == (EXPECTED, 1)


def test_progress_ends_at_the_size_of_all_files(tmp_path):
    """Progress never goes back, and ends at the total."""
    paths = [write(tmp_path / f"{name}.jsonl", ROWS * 200) for name in "ab"]
    told = []
    read_dataset(paths, on_progress=lambda *at: told.append(at))
    total = sum(p.stat().st_size for p in paths)
    assert told == sorted(told)
    assert told[-1] == (total, total)
    assert {t for _, t in told} == {total}


def test_the_wide_format_is_a_row_per_model(tmp_path):
    """Lengths are parallel to the models of the first line; null is no answer; the model can be chosen."""
    path = tmp_path / "s__wide.jsonl.gz"
    lines = [
        {"models": ["a", "b", "c"], "source": "s"},
        {"prompt": "one", "source": "s", "output_tokens": [1, None, 3]},
        {"prompt": "two", "source": "s", "output_tokens": [4, 5, 6]},
        {"prompt": "odd", "source": "s", "output_tokens": [4, 5]},
    ]
    path.write_bytes(gzip.compress(jsonl(lines)))
    read = read_dataset([path])
    assert [(r.prompt, r.tokens, r.group) for r in read.rows] == [
        ("one", 1, ("s", "a")), ("one", 3, ("s", "c")), ("two", 4, ("s", "a")), ("two", 5, ("s", "b")),
        ("two", 6, ("s", "c")),
    ]  # fmt: skip
    assert read.skipped == {"lengths are not parallel to the models of the first line": 1}
    assert [r.tokens for r in read_dataset([path], model="c").rows] == [3, 6]


BAD = [
    (b'{"output_tokens": 5}', "no prompt"),
    (b'{"prompt": null, "output_tokens": 5}', "no prompt"),
    (b'{"prompt": 7, "output_tokens": 5}', "prompt is not text"),
    (b'{"prompt": ["a"], "output_tokens": 5}', "prompt is not text"),
    (b'{"prompt": "PK\\u0000\\u0001", "output_tokens": 5}', "prompt is not text"),
    (b'{"prompt": "\\ud83d", "output_tokens": 5}', "prompt is not text"),
    (b'{"prompt": "\\u0001\\u0002\\u0003 a", "output_tokens": 5}', "prompt is not text"),
    (b'{"prompt": "  ", "output_tokens": 5}', "empty prompt"),
    (b'{"prompt": "a"}', "no length"),
    (b'{"prompt": "a", "output_tokens": -1}', "negative length"),
    (b'{"prompt": "a", "output_tokens": 0}', "length of 0"),
    (b'{"prompt": "a", "output_tokens": 1.5}', "length is not a whole number"),
    (b'{"prompt": "a", "output_tokens": true}', "length is not a whole number"),
    (b'{"prompt": "a", "output_tokens": "many"}', "length is not a whole number"),
    (b'{"prompt": "a", "output_tokens": NaN}', "length is not a whole number"),
    (b'{"prompt": "a", "output_tokens": 1e400}', "absurd length"),
    (b'{"prompt": "a", "output_tokens": 10000001}', "absurd length"),
    (b'{"prompt": "a", "output_tokens": 5, "finish_reason": "tired"}', "unknown finish_reason"),
    (b'{"prompt": "a", "output_tokens": 5, "finish_reason": 3}', "unknown finish_reason"),
    (b'{"prompt": "a", "output_tokens": 5, "samples": 3}', "samples are neither a list nor an object of lengths"),
    (b'{"prompt": "a", "output_tokens": 5', "bad JSON line"),
    (b"[" * 100_000, "bad JSON line"),
    (b'{"prompt": "a", "output_tokens": ' + b"9" * 5000 + b"}", "bad JSON line"),
    (b'"prompt"', "line is not a JSON object"),
    (b"\x89PNG\xff\xfe", "line is not UTF-8"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_row_is_counted_and_costs_the_others_nothing(tmp_path, line, reason):
    """Each kind of bad row has its reason; the rows around it are read."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(jsonl(ROWS[:1]) + line + b"\n" + jsonl(ROWS[1:]))
    read = read_dataset([path])
    assert (read.rows, dict(read.skipped), read.read) == (EXPECTED, {reason: 1}, 21)


def test_a_file_of_bad_rows_only_says_why(tmp_path):
    """Without a usable row the error has the counts, and nothing of what was in the rows."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"prompt": "sesame"}\n{"prompt": "sesame", "output_tokens": -2}\n')
    with pytest.raises(ConfigError, match=r"no usable row among 2 in .*: 1 no length, 1 negative length") as caught:
        read_dataset([path])
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, "no such file"),
        ("empty.jsonl", b"", "no rows in .*each needs `prompt`"),
        ("empty.csv", b"", "no rows in .*each needs `prompt`"),
        ("empty.parquet", b"", "is not Parquet|damaged"),
        ("log.txt", b"x", r"rows are read from \.jsonl"),
        ("log.jsonl.gz", jsonl(ROWS), r"is not gzip, .*take \.gz off"),
        ("log.jsonl", gzip.compress(jsonl(ROWS)), r"is gzip, .*add \.gz"),
        ("log.parquet", jsonl(ROWS), "is not Parquet"),
        ("log.jsonl", b"PAR1....", r"is Parquet: name it \.parquet"),
        ("log.parquet", b"PAR1 and no more PAR1", "damaged"),
        ("log.jsonl", b'[{"prompt": "a", "output_tokens": 3}]\n', "JSON array.*jq"),
        ("log.csv", b"text,output_tokens\na,3\n", r"no column `prompt` \(it has: text, output_tokens\)"),
        ("log.csv", b"prompt,n\na,3\n", r"no column `output_token_count` or `output_tokens` \(it has: prompt, n\)"),
    ],
)
def test_a_file_that_cannot_be_read_names_itself_and_the_remedy(tmp_path, name, content, message):
    """What is wrong with a whole file is an error in words, with the file's name."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_dataset([path])
    assert name in str(caught.value)


def test_parquet_without_a_column_names_it(tmp_path):
    """A Parquet file needs the same columns as CSV."""
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "log.parquet")
    with pytest.raises(ConfigError, match="no column `output_token_count`"):
        read_dataset([tmp_path / "log.parquet"])


def test_parquet_with_bytes_for_prompts(tmp_path):
    """Bytes that are UTF-8 are text, others are counted; so are strings that are none."""
    table = pa.table({"prompt": pa.array([b"fine", b"\xff\xfe\x00"], pa.binary()), "output_tokens": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    broken = pa.StringArray.from_buffers(2, *pa.array([b"good", b"\xff\xfe"], pa.binary()).buffers()[1:])
    pq.write_table(pa.table({"prompt": broken, "output_tokens": [3, 4]}), tmp_path / "b.parquet")
    read = read_dataset([tmp_path])
    assert [(r.prompt, r.tokens) for r in read.rows] == [("fine", 1), ("good", 3)]
    assert read.skipped == {"prompt is not text": 2}


def test_a_cut_gzip_keeps_what_was_read(tmp_path):
    """A download that broke off is used up to there, and the break is counted; damage inside likewise."""
    random_ = random.Random(0)
    rows = [{"prompt": f"{random_.random()}", "output_tokens": i + 1} for i in range(5000)]
    whole = gzip.compress(jsonl(rows))
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    read = read_dataset([tmp_path / "cut.jsonl.gz"])
    assert read.skipped == {"file breaks off (gzip is cut); the rows before are used": 1}
    assert 1000 < len(read.rows) < 4000
    assert [r.prompt for r in read.rows] == [r["prompt"] for r in rows[: len(read.rows)]]
    (tmp_path / "bad.jsonl.gz").write_bytes(whole[:-8] + b"\0" * 8)
    read = read_dataset([tmp_path / "bad.jsonl.gz"])
    assert (len(read.rows), dict(read.skipped)) == (5000, {"file is damaged (gzip); the rows before are used": 1})


def test_csv_with_quotes_newlines_and_bytes(tmp_path):
    """A prompt may have lines and quotes; one that is not UTF-8 is counted; a byte order mark is no part of a name."""
    text = '\ufeffprompt,output_tokens,samples\n"two\nlines, ""quoted""",7.0,"[8, 9]"\n'.encode()
    (tmp_path / "log.csv").write_bytes(text + b"\xff\xfe,3,\nplain,4,\n")
    read = read_dataset([tmp_path / "log.csv"])
    assert [(r.prompt, r.tokens, r.samples) for r in read.rows] == [
        ('two\nlines, "quoted"', 7, (8, 9)),
        ("plain", 4, ()),
    ]
    assert read.skipped == {"prompt is not text": 1}


@pytest.mark.parametrize(
    ("fields", "complete"),
    [
        ({}, True),
        ({"finish_reason": "stop"}, True),
        ({"finish_reason": "FINISH_REASON_STOP"}, True),
        ({"finish_reason": "length"}, False),
        ({"finish_reason": "aborted"}, False),
        ({"finish_reason": "cancelled"}, False),
        ({"finish_reason": "length", "ignore_eos": True}, True),
        ({"finish_reason": "length", "length_is_complete": True}, True),
        ({"finish_reason": ""}, True),
    ],
)
def test_what_a_finish_reason_says_of_the_length(tmp_path, fields, complete):
    """Only an answer that ended by itself, or was meant to be that long, has a known length."""
    path = write(tmp_path / "log.jsonl", [{"prompt": "a", "output_tokens": 5} | fields])
    assert [r.complete for r in read_dataset([path]).rows] == [complete]


def test_caps_censor_what_reaches_them_and_what_ends_amid_a_sentence_near_them(tmp_path):
    """A cap applies to its source, or to a file by its stem; a finish reason knows better."""
    near = round(NEAR_CAP * 100)
    rows = [
        {"prompt": "at", "output_tokens": 100},
        {"prompt": "near", "output_tokens": near},
        {"prompt": "near and open", "output_tokens": near, "no_final_punct": True},
        {"prompt": "short and open", "output_tokens": near - 1, "no_final_punct": True},
        {"prompt": "ended there", "output_tokens": 100, "finish_reason": "stop"},
    ]
    wanted = [False, True, False, True, True]
    assert [r.complete for r in read_dataset([write(tmp_path / "s.jsonl", rows)], caps={"s": 100}).rows] == wanted
    named = [r | {"source": "t"} for r in rows]
    assert [r.complete for r in read_dataset([write(tmp_path / "x.jsonl", named)], caps={"t": 100}).rows] == wanted
    assert all(r.complete for r in read_dataset([tmp_path / "x.jsonl"], caps={"u": 1}).rows)
    own = [r | {"max_tokens": 100} for r in rows]
    assert [r.complete for r in read_dataset([write(tmp_path / "y.jsonl", own)]).rows] == wanted


def test_samples_are_further_answers(tmp_path):
    """A named first sample that is the row's own answer is not counted twice; what is no length is left out."""
    rows = [
        {"prompt": "a", "output_tokens": 5, "samples": {"t0": 5, "t1": 7, "t2": None}},
        {"prompt": "b", "output_tokens": 5, "samples": [5, -1, 9, "x"]},
    ]
    path = write(tmp_path / "log.jsonl", rows)
    assert [r.samples for r in read_dataset([path]).rows] == [(7,), (5, 9)]


def test_a_long_prompt_keeps_head_and_tail(tmp_path):
    """A prompt of megabytes is cut and counted."""
    prompt = "h" * 2**20 + "t" * 2**20
    read = read_dataset([write(tmp_path / "log.jsonl", [{"prompt": prompt, "output_tokens": 5}])])
    assert read.rows[0].prompt == "h" * (LONGEST_PROMPT // 2) + "t" * (LONGEST_PROMPT // 2)
    assert read.cut == 1


def test_drawing_is_uniform_seeded_and_in_order(tmp_path):
    """A draw is the same for a seed, another for another, keeps the file's order, and favours no part of the file."""
    rows = [{"prompt": f"p{i}", "output_tokens": i + 1} for i in range(2000)]
    path = write(tmp_path / "log.jsonl", rows)
    draws = [[r.tokens for r in read_dataset([path], most=100, seed=seed).rows] for seed in range(30)]
    assert draws[0] == [r.tokens for r in read_dataset([path], most=100, seed=0).rows] == sorted(draws[0])
    assert draws[0] != draws[1]
    assert all(len(d) == 100 for d in draws)
    mean = sum(map(sum, draws)) / 3000
    assert abs(mean - 1000.5) < 4 * 577 / 3000**0.5  # four standard errors


def test_characters_are_bounded_too(tmp_path, monkeypatch):
    """Where rows are so long that they come to more than memory may hold, fewer are kept."""
    monkeypatch.setattr(dataset_module, "MOST_CHARACTERS", 10_000)
    path = write(tmp_path / "log.jsonl", [{"prompt": f"{i:01000}", "output_tokens": i + 1} for i in range(100)])
    rows = read_dataset([path]).rows
    assert len(rows) == 10
    assert max(r.tokens for r in rows) > 50


STREAM = """
    import resource, sys, tracemalloc
    from pathlib import Path
    from rankd.training.dataset import read_dataset
    read_dataset([Path(sys.argv[2])])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = read_dataset([Path(sys.argv[1])], most=1000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(read.read, len(read.rows), max(r.tokens for r in read.rows), after - before)
"""


def test_a_stream_far_larger_than_memory_may_be_takes_bounded_memory(tmp_path):
    """100 MB through a pipe, of which 1,000 rows are kept, raise the peak by less than 20 MB."""
    pipe, small = tmp_path / "pipe.jsonl", write(tmp_path / "small.jsonl", ROWS)
    os.mkfifo(pipe)
    count, filler = 25_000, "lorem ipsum " * 330

    def feed():
        with pipe.open("w") as file:
            for i in range(count):
                file.write(f'{{"prompt": "{filler}{i}", "output_tokens": {i + 1}}}\n')

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STREAM), pipe, small],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    feeder.join(10)
    read, kept, longest, grown = map(int, out.stdout.split())
    assert (read, kept) == (count, 1000)
    assert longest > 0.9 * count
    assert grown < 20_000, f"peak memory grew by {grown} kB"


def test_a_line_without_end_is_skipped_in_bounded_memory(tmp_path, monkeypatch):
    """A file that is one endless line is read in pieces, and counted as one bad line."""
    monkeypatch.setattr("rankd.training.formats.LONGEST_LINE", 1000)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"x" * 100_000 + b"\n" + jsonl(ROWS))
    read = read_dataset([path])
    assert (read.rows, dict(read.skipped)) == (EXPECTED, {"line too long": 1})


PROMPTS = st.lists(st.sampled_from(["a", "A", " a", "b", "B ", "c", "d", "Straße", "STRASSE", "e", "f"]), max_size=30)


@given(PROMPTS, st.floats(0, 1), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_split_keeps_equal_prompts_together(prompts, share, seed):
    """No row is lost, no prompt is on both sides, the draw does not depend on the order of rows."""
    rows = [Row(p, i + 1, True) for i, p in enumerate(prompts)]
    train, valid = split(rows, share, seed)

    def keys(some):
        return {r.prompt.strip().casefold() for r in some}

    assert sorted([*train, *valid], key=lambda r: r.tokens) == rows
    assert not keys(train) & keys(valid)
    again = split(rows[::-1], share, seed)
    assert [keys(side) for side in again] == [keys(train), keys(valid)]
    distinct = len(keys(rows))
    if distinct > 1 and share > 0:
        assert len(keys(valid)) == min(max(1, round(share * distinct)), distinct - 1)


def test_split_depends_on_the_seed():
    """Another seed holds out other prompts."""
    rows = [Row(f"p{i}", i + 1, True) for i in range(200)]
    assert split(rows, 0.2, 1)[1] != split(rows, 0.2, 2)[1]
    assert len(split(rows, 0.2, 1)[1]) == 40


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([Row(f"p{i}", 7, True) for i in range(9)], "all 9 answers have the same length, 7 tokens.*check"),
        ([Row(f"p{i}", i + 1, False) for i in range(9)], "all 9 answers were cut off.*finish_reason"),
        ([Row(f"p{i}", i + 1, True, "s", f"m{i}") for i in range(9)], "no two answers of the same source and model"),
        ([Row("a", 9, True), Row("b", 5, False)], "no two answers"),
    ],
)
def test_rows_that_teach_nothing_are_refused_with_a_remedy(rows, message):
    """Where no pair has a known order, training would make noise."""
    with pytest.raises(ConfigError, match=message):
        check_learnable(rows)


def test_one_known_pair_can_be_learned_from():
    """A complete answer that is shorter than what another has produced so far is a pair of known order."""
    check_learnable([Row("a", 5, True), Row("b", 9, False)])
