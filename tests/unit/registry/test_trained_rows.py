"""A ranker's own word of the rows that it was made of: written, read back, copied, and refused where it is wrong."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from support.ranker_start import fields_of, rehash, with_trained_rows
from support.tiny_ranker import make_artifact

from rankd.cli.install import install
from rankd.errors import ArtifactError, ConfigError
from rankd.registry import trained_rows
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MANIFEST, TRAINED_ROWS
from rankd.registry.bundled import ranker_path
from rankd.registry.trained_rows import MOST_SOURCES, PromptList, digests_of, form_of
from rankd.training.data.row import Row
from rankd.training.export import trained_rows as writing
from rankd.training.export.trained_rows import with_traffic, write_trained_rows

KEY = bytes(range(16))


def row(prompt, **more):
    return Row(prompt, 10, complete=True, **more)


@pytest.fixture
def ranker(tmp_path):
    rows = [row(f"prompt of {name}") for name in ("anna", "bert", "carl")]
    return with_trained_rows(make_artifact(tmp_path / "r"), rows)


def refused(path, reason):
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sum up ticket 4711", "Sum up ticket 12"),
        ("user_a7 asks", "user_b12345 asks"),
        ("on 2026-11-30 at 18:42", "on 2025-01-02 at 07:05"),
        ("id 3f2504e0-4f89-11d3", "id 9a8b7c6d-1e2f-33aa"),
        ("  Hello\n\tWorld ", "hello world"),
        ("Zähle bis ٣", "zähle bis 3"),
        ("请写300字", "请写5字"),
    ],
)
def test_prompts_that_count_as_the_same(one, other):
    """Other numbers, dates, ids, case and white space make no other prompt."""
    assert form_of(one) == form_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("write a poem", "write an essay"), ("请写一首诗", "请写一篇文章"), ("a", ""), ("a b", "ab")]
)
def test_prompts_that_do_not(one, other):
    """Another word does."""
    assert form_of(one) != form_of(other)


def test_a_prompt_that_was_cut_is_the_same():
    """As by a completion log: head and tail are what is left, and what counts."""
    prompt = "".join(chr(0x61 + i * i % 26) for i in range(100_000))
    for most in (4096, 8192, 65_536):
        assert form_of(prompt[: most // 2] + prompt[-(most // 2) :]) == form_of(prompt)


@pytest.mark.parametrize("prompt", ["a" * 4096, "1" * 4096, "a1" * 2048, " " * 4096, "\ud800x", "诗" * 4096, ""])
def test_a_form_of_anything(prompt):
    """Hostile text has a form and a hash, in time that its length bounds."""
    assert digests_of([prompt] * 50, KEY).shape == (50,)


def test_a_list_finds_what_is_in_it():
    """Whatever the order, and nothing else; another key makes other hashes."""
    inside, outside = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(500)], ["1 more", "zz top"]
    listed = PromptList(KEY, np.unique(digests_of(inside, KEY)))
    listed = PromptList.unpacked(KEY, listed.packed(), 500)
    assert listed.has([*outside, *reversed(inside)]).tolist() == [False, False, *[True] * 500]
    assert listed.has([]).tolist() == []
    assert not PromptList(b"other", listed.digests).has(inside).any()


def test_what_is_written_is_read(ranker):
    """With the manifest's hash over it; no prompt can be read in either file."""
    artifact = load_artifact(ranker)
    assert artifact.prompts.has(["Prompt of Anna", "prompt of dora"]).tolist() == [True, False]
    assert artifact.manifest.trained_rows.complete
    assert artifact.manifest.trained_rows.sources[0].rows == 3
    for name in (MANIFEST, TRAINED_ROWS):
        assert b"anna" not in (ranker / name).read_bytes()


def test_equal_rows_write_equal_files(tmp_path):
    """As all of a ranker's directory; the key comes of what the caller hashed of the rows."""
    rows = [row("one"), row("two"), row("one")]
    made = []
    for place, seed in (("a", "seed"), ("b", "seed"), ("c", "other")):
        (tmp_path / place).mkdir()
        made.append((write_trained_rows(tmp_path / place, rows, seed), (tmp_path / place / TRAINED_ROWS).read_bytes()))
    assert made[0] == made[1]
    assert made[0][0]["key"] != made[2][0]["key"]
    assert made[0][1] != made[2][1]
    assert made[0][0]["prompts"] == 2


def test_sources_have_times_where_all_rows_do(tmp_path):
    """By source and model; a clock that counts from elsewhere gives none."""
    rows = [
        row("a", source="log", model="m", at=1.7e9),
        row("b", source="log", model="m", at=1.8e9),
        row("c", source="file", at=1.8e9),
        row("d", source="file"),
        row("e", source="monotonic", at=12.0),
    ]
    found = {s["name"]: s for s in write_trained_rows(tmp_path, rows, "")["sources"]}
    assert found["log"]["ended_from"] == datetime.fromtimestamp(1.7e9, UTC)
    assert found["log"]["ended_to"] == datetime.fromtimestamp(1.8e9, UTC)
    assert "ended_to" not in found["file"]
    assert "ended_to" not in found["monotonic"]


def test_many_sources_are_bounded(tmp_path):
    """The smallest are told as one."""
    rows = [row(f"{i}", source="s" * 300 + f"{i % 100}") for i in range(200)]
    sources = write_trained_rows(tmp_path, rows, "")["sources"]
    assert len(sources) == MOST_SOURCES
    assert sum(s["rows"] for s in sources) == 200
    assert sources[-1]["name"] == "others"


def test_a_list_that_is_too_long_says_so(ranker, monkeypatch):
    """It is bounded, and then not complete."""
    monkeypatch.setattr(writing, "MOST_LISTED", 2)
    with_trained_rows(ranker, [row("a"), row("b"), row("c")])
    spec = load_artifact(ranker).manifest.trained_rows
    assert (spec.prompts, spec.complete) == (2, False)


def test_a_directory_that_cannot_be_written(tmp_path):
    """The error names it and the remedy."""
    with pytest.raises(ConfigError, match="free space or name another"):
        write_trained_rows(tmp_path / "not there", [row("a")], "")


def test_traffic_counts_by_time(ranker):
    """What a daemon learned from has no prompts: a later such entry of the same model takes the earlier one's place."""
    spec = with_traffic(fields_of(ranker)["trained_rows"], "m", 0, 1.8e9)
    spec = with_traffic(with_traffic(spec, "other", 5, 1.8e9), "m", 7, 1.9e9)
    rehash(ranker, trained_rows=spec)
    sources = load_artifact(ranker).manifest.trained_rows.sources
    assert [(s.by, s.model, s.rows) for s in sources] == [("time", "m", 7), ("time", "other", 5), ("prompt", "", 3)]
    assert sources[0].ended_to.timestamp() == 1.9e9


def test_it_is_copied_into_a_registry(ranker, tmp_path):
    """With the rest, and under the same hash."""
    installed = tmp_path / "registry" / install(load_artifact(ranker), str(tmp_path / "registry"))
    assert (installed / TRAINED_ROWS).read_bytes() == (ranker / TRAINED_ROWS).read_bytes()
    assert load_artifact(installed).prompts is not None


def test_bundled_rankers_were_made_of_nobodys_traffic():
    """So that all completions count when one of them is judged."""
    for name in ("minilm-l6", "ngram"):
        spec = load_artifact(ranker_path(name)).manifest.trained_rows
        assert spec.complete
        assert {s.by for s in spec.sources} == {"elsewhere"}


def test_an_old_ranker_has_none(tmp_path):
    """It loads as ever, and does not say what it was made of."""
    artifact = load_artifact(make_artifact(tmp_path / "r"))
    assert (artifact.manifest.trained_rows, artifact.prompts) == (None, None)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompts": 0}, "key and prompts"),
        ({"key": "00"}, "key"),
        ({"prompts": trained_rows.MOST_LISTED + 1}, "prompts"),
        ({"sources": [{"name": "x", "by": "time"}]}, "ended_to"),
        ({"sources": [{"name": "x", "by": "heart"}]}, "by"),
        ({"sources": [{"name": "x", "by": "prompt", "ended_to": "2026-01-01T00:00:00"}]}, "timezone"),
        ({"sources": [{"name": "x", "by": "prompt"}] * (MOST_SOURCES + 1)}, "sources"),
        ({"prompts": 0, "key": ""}, TRAINED_ROWS),
        ({"more": 1}, "more"),
    ],
)
def test_what_a_manifest_may_not_say(ranker, fields, named):
    """Each is BAD_MANIFEST and named."""
    manifest = fields_of(ranker)
    manifest["trained_rows"] |= fields
    (ranker / MANIFEST).write_text(json.dumps(manifest))
    assert named in refused(ranker, "BAD_MANIFEST")


@pytest.mark.parametrize("content", [b"x" * 24, b"1234567", b"\0" * 16], ids=["falls", "cut", "short"])
def test_a_list_that_is_none(ranker, content):
    """Its hash is right, and yet it is no list."""
    (ranker / TRAINED_ROWS).write_bytes(content)
    spec = fields_of(ranker)["trained_rows"]
    rehash(ranker, trained_rows=spec)
    assert str(ranker / TRAINED_ROWS) in refused(ranker, "BAD_TRAINED_ROWS")


@pytest.mark.parametrize("reason", ["MISSING_FILE", "UNNAMED_FILE", "BAD_HASH", "EMPTY_FILE"])
def test_a_list_that_is_not_the_manifests(ranker, tmp_path, reason):
    """One that is gone, that nobody vouches for, or that was changed."""
    path = ranker / TRAINED_ROWS
    if reason == "MISSING_FILE":
        path.unlink()
    elif reason == "UNNAMED_FILE":
        (ranker / MANIFEST).write_bytes((make_artifact(tmp_path / "other") / MANIFEST).read_bytes())
    else:
        path.write_bytes(b"" if reason == "EMPTY_FILE" else bytes(24))
    assert TRAINED_ROWS in refused(ranker, reason)
