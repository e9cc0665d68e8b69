"""Files and rows that are bad: counted by reason, or an error that says what to do."""

import gzip
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.row_files import EXPECTED, ROWS, jsonl

from rankd.errors import ConfigError
from rankd.training.data.dataset import read_dataset

NO_LIMIT = "`max_tokens` is neither a whole number nor a word for no limit"
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
    (b'{"prompt": "a", "output_tokens": -1}', "`output_tokens` is below 1"),
    (b'{"prompt": "a", "output_tokens": 0}', "`output_tokens` is below 1"),
    (b'{"prompt": "a", "output_tokens": 1.5}', "`output_tokens` is not a whole number"),
    (b'{"prompt": "a", "output_tokens": true}', "`output_tokens` is not a whole number"),
    (b'{"prompt": "a", "output_tokens": "many"}', "`output_tokens` is not a whole number"),
    (b'{"prompt": "a", "output_tokens": NaN}', "no length"),
    (b'{"prompt": "a", "output_tokens": 1e400}', "`output_tokens` is above 10,000,000"),
    (b'{"prompt": "a", "output_tokens": 10000001}', "`output_tokens` is above 10,000,000"),
    (b'{"prompt": "a", "output_tokens": 5, "max_tokens": "many"}', NO_LIMIT),
    (b'{"prompt": "a", "output_tokens": 5, "max_tokens": 12.5}', NO_LIMIT),
    (b'{"prompt": "a", "output_tokens": 5, "max_tokens": [4]}', NO_LIMIT),
    (b'{"prompt": "a", "completion_tokens": "5 tokens"}', "`completion_tokens` is not a whole number"),
    (b'{"prompt": "a", "usage": {"output_tokens": -5}}', "`usage.output_tokens` is below 1"),
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
    with pytest.raises(
        ConfigError,
        match=r"no usable row among 2 in .*: 1 no length .*log.jsonl line 1., 1 `output_tokens` is below 1 .*line 2",
    ) as caught:
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


def test_a_line_without_end_is_skipped_in_bounded_memory(tmp_path, monkeypatch):
    """A file that is one endless line is read in pieces, and counted as one bad line."""
    monkeypatch.setattr("rankd.datafiles.lines.LONGEST_LINE", 1000)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"x" * 100_000 + b"\n" + jsonl(ROWS))
    read = read_dataset([path])
    assert (read.rows, dict(read.skipped)) == (EXPECTED, {"line too long": 1})
