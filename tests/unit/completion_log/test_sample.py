"""The completion log's files: joined as a plain join would, drawn in bounded memory, written or not there."""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.log_rows import completion_row, prompt_row, write_segment

from rankd.completion_log.newest import newest
from rankd.completion_log.records import (
    CompletionRow,
    PromptRow,
    SegmentKind,
    cut,
    micros,
    request_hasher,
    sampled_below,
)
from rankd.completion_log.sample import JoinedSample
from rankd.completion_log.segments import pick
from rankd.completion_log.store import LocalStore, as_url

NOTHING = {kind: [] for kind in SegmentKind}
ALL = sampled_below(1.0)


def drawn(store, most=10_000, seed=0, model=None):
    counts = Counter()
    return list(JoinedSample(store, most, seed, model, counts, lambda _: None).rows()), counts


EVENTS = st.lists(
    st.tuples(st.sampled_from("pc"), st.integers(0, 4), st.integers(0, 200), st.booleans()), min_size=1, max_size=30
)


@given(EVENTS, st.integers(1, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_draw_is_a_plain_join(tmp_path_factory, events, segments):
    """Whatever prompts and completions there are, in whichever segments, each prompt meets its best completion."""
    store = LocalStore(tmp_path_factory.mktemp("log"))
    prompts = {(number, at): f"{number} at {at}" for what, number, at, _ in events if what == "p"}
    ended = [(number, at, 1 + i, known) for i, (what, number, at, known) in enumerate(events) if what == "c"]
    rows = [prompt_row(n, at, text) for (n, at), text in prompts.items()]
    rows += [completion_row(n, at, tokens, complete=known) for n, at, tokens, known in ended]
    for part in range(segments):
        for kind in (PromptRow, CompletionRow):
            if some := [r for i, r in enumerate(rows) if i % segments == part and isinstance(r, kind)]:
                write_segment(store, some)
    wanted = {}
    for number, at, tokens, known in ended:
        seen = pick(sorted(t for n, t in prompts if n == number), at)
        if seen is not None and seen - at <= 60:
            key = number, seen
            wanted[key] = max(wanted.get(key, (False, 0)), (known, tokens))
    found, _ = drawn(store)
    assert {(j.prompt, j.complete, j.tokens) for j in found} == {
        (prompts[key], known, tokens) for key, (known, tokens) in wanted.items()
    }
    assert len(found) == len(wanted)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """3,000 requests in 30 segments of each kind; of every third the completion is elsewhere."""
    store = LocalStore(tmp_path_factory.mktemp("large"))
    order = random.Random(0).sample(range(3000), 3000)
    for part in range(30):
        write_segment(store, [prompt_row(n, 1000.0 + n, f"prompt {n}") for n in order[part::30]], 5000.0)
        write_segment(store, [completion_row(n, 2000.0 + n, n + 1) for n in order[part::30] if n % 3], 6000.0 + part)
    return store


def test_a_draw_is_bounded_seeded_and_right(large):
    """A draw has what was asked for and little more, other rows for another seed, and never a wrong pair."""
    whole, counts = drawn(large)
    assert len(whole) == 2000
    assert not counts
    draws = [{j.prompt for j in drawn(large, 100, seed)[0]} for seed in range(4)]
    assert all(100 <= len(d) <= 400 for d in draws)
    assert draws[0] == {j.prompt for j in drawn(large, 100, 0)[0]}
    assert draws[0] != draws[1]
    assert all(j.prompt == f"prompt {j.tokens - 1}" for j in drawn(large, 100, 1)[0])
    assert len(set.union(*draws)) > 250


def test_a_draw_of_one_model(large, tmp_path):
    """Rows of other models are counted, not drawn."""
    store = LocalStore(tmp_path)
    write_segment(store, [prompt_row(n, 10.0, str(n)) for n in range(6)])
    write_segment(store, [completion_row(n, 20.0, n + 1, model="m" if n < 4 else "x") for n in range(6)])
    found, counts = drawn(store, model="x")
    assert {j.prompt for j in found} == {"4", "5"}
    assert counts == {"answered by another model": 4}
    assert drawn(large, model="x")[0] == []


def test_the_newest_are_found_without_reading_all(large):
    """The newest completions are those of the newest segments, in their order."""
    read = []

    class Watched(LocalStore):
        def read(self, name, columns):
            read.append(name)
            return super().read(name, columns)

    found = newest(Watched(large.path), NOTHING, 10, None, ALL)
    assert len(found) == 10
    assert [j.ended_at for j in found] == sorted(j.ended_at for j in found)
    assert all(j.prompt == f"prompt {j.tokens - 1}" for j in found)
    assert sum(name.startswith("completions") for name in read) == 1


def test_the_newest_of_an_unreadable_store_are_those_in_memory(tmp_path):
    """A store that is gone costs what is in it, not the judgement."""
    (tmp_path / "file").write_text("")
    unwritten = {
        SegmentKind.PROMPTS: [prompt_row(1, 10.0, "one")],
        SegmentKind.COMPLETIONS: [completion_row(1, 20.0, 5)],
    }
    assert [j.prompt for j in newest(LocalStore(tmp_path / "file"), unwritten, 10, None, ALL)] == ["one"]


@given(st.binary(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_request_hash_depends_on_key_model_and_id(key, model, request_id):
    """The same on every replica with the key; another for another key, model or id."""
    digest = request_hasher(key).digest(model, "", request_id)
    assert digest == request_hasher(bytes(key)).digest(model, "", request_id)
    assert len(digest) == 16
    others = [
        (key + b"!", model, "", request_id),
        (key, model + "!", "", request_id),
        (key, model, "", request_id + "!"),
    ]
    others.append((key, model, "tenant", request_id))
    assert digest not in [request_hasher(k).digest(*request) for k, *request in others]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_is_kept(share):
    """The bound lets the share through, none at 0 and all at 1."""
    digest, below = request_hasher(b"k").digest, sampled_below(share)
    kept = sum(digest("m", "", str(i)) < below for i in range(20_000)) / 20_000
    assert kept == pytest.approx(share, abs=4 * (share * (1 - share) / 20_000) ** 0.5)


@given(st.text(max_size=50), st.integers(2, 60))
def test_cut_keeps_head_and_tail(prompt, most):
    """What is kept is as long as allowed, and is the beginning and the end."""
    kept = cut(prompt, most)
    assert len(kept) == min(len(prompt), most)
    assert prompt.startswith(kept[: (most + 1) // 2])
    assert prompt.endswith(kept[(most + 1) // 2 :])


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(1.5, 1_500_000), (-1e30, -62_135_596_800_000_000), (1e30, 253402300799000000)]
)
def test_times_beyond_a_calendar_are_held_at_its_ends(seconds, wanted):
    """Callers may send any arrival time; none keeps a segment from being written."""
    assert micros(seconds) == wanted


def test_all_columns_come_back(tmp_path):
    """What is written is what other tools read."""
    import pyarrow.parquet as pq

    store = LocalStore(tmp_path)
    write_segment(store, [completion_row(1, 20.0, 5)])
    (row,) = pq.read_table(next(tmp_path.iterdir())).to_pylist()
    assert row["shadow_scores"] == [("s@1", 0.25)]
    assert (row["tokens"], row["complete"], row["finish_reason"], row["ended_at"].timestamp()) == (
        5,
        True,
        "stop",
        20.0,
    )


@pytest.mark.parametrize(
    ("place", "url"),
    [("s3://b/p", "s3://b/p"), ("s3:/b/p", "s3://b/p"), ("/var/log", None), ("log", None), ("c:/x", None)],
)
def test_what_is_a_url(place, url):
    """A URL is told from a path, also after Path took a slash off it."""
    assert as_url(place) == url
