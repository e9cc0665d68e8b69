"""Rows to learn from: every format, bounded memory, drawing and splitting."""

import gzip
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.row_files import EXPECTED, ROWS, jsonl, write

from rankd.datafiles import LONGEST_PROMPT
from rankd.errors import ConfigError
from rankd.training.data import dataset as dataset_module
from rankd.training.data.dataset import NEAR_CAP, Row, check_learnable, read_dataset, split


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
    from rankd.training.data.dataset import read_dataset
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


PROMPTS = st.lists(st.sampled_from(["a", "A", " a", "b", "B ", "c", "d", "Straße", "STRASSE", "e", "f"]), max_size=30)


@given(PROMPTS, st.floats(0, 1), st.integers(0, 5))
@settings(max_examples=examples(200), deadline=None)
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
