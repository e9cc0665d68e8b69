"""What the bundled rankers are trained on: the consensus of the models that answered, within the limits of a source."""

import gzip
import json

import numpy as np
import pytest

from benchmarks.rankers.sources import BENCHMARK_ONLY, EVERYBODY, GROUPS, SHIPPABLE, consensus, drawn, read_source
from rankd.training.data.dataset import Row


def answers(lengths_by_model, cut=()):
    return [
        Row(f"prompt {p}", tokens, (model, p) not in cut, "made", model)
        for model, lengths in lengths_by_model.items()
        for p, tokens in enumerate(lengths)
        if tokens is not None
    ]


def test_a_talkative_model_does_not_make_its_prompts_look_long():
    """A model that answers ten times as long, and only the shorter prompts, leaves the order of prompts as it is."""
    terse = [10, 20, 40, 80]
    rows = consensus(answers({"terse": terse, "alike": [t * 2 for t in terse], "talkative": [100, 200, None, None]}))
    assert [r.prompt for r in sorted(rows, key=lambda r: r.tokens)] == [f"prompt {p}" for p in range(4)]
    assert {r.model for r in rows} == {EVERYBODY}


def test_consensus_is_the_geometric_mean_of_what_every_model_is_apart_from_itself():
    """Against the formula, taken term by term."""
    lengths = {"a": [10, 30, 90], "b": [7, 50, 40]}
    rows = consensus(answers(lengths))
    means = {m: np.log(v).mean() for m, v in lengths.items()}
    for p, row in enumerate(rows):
        apart = np.mean([np.log(lengths[m][p]) - means[m] for m in lengths])
        assert row.tokens == round(np.exp(np.mean(list(means.values())) + apart))


def test_a_prompt_counts_as_cut_where_half_of_its_answers_were():
    """One cut answer of three does not make a bound of the mean; two do, and so does one of two."""
    lengths = {m: [10, 20, 30] for m in "abc"}
    cut = {("a", 0), ("a", 1), ("b", 1)}
    assert [r.complete for r in consensus(answers(lengths, cut))] == [True, False, True]
    assert not consensus(answers({"a": [10], "b": [20]}, {("a", 0)}))[0].complete


def test_one_model_alone_is_left_as_it_is():
    """There is nothing to average."""
    rows = answers({"alone": [3, 1, 2]})
    assert consensus(rows) == rows


def test_a_wide_file_is_read_as_a_row_per_answer(tmp_path):
    """Missing answers give no row, and the source's cap marks answers as cut."""
    source = next(s for s in SHIPPABLE if s.name == "arena_hard_1k")
    path = tmp_path / source.files[0]
    path.parent.mkdir()
    lines = [
        {"models": ["a", "b"]},
        {"prompt": "one", "output_tokens": [5, None]},
        {"prompt": "two", "output_tokens": [9, source.cap]},
    ]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({**line, "source": source.name}) + "\n" for line in lines)
    rows = read_source(source, tmp_path)
    assert sorted((r.prompt, r.model, r.tokens, r.complete) for r in rows) == [
        ("one", "a", 5, True),
        ("two", "a", 9, True),
        ("two", "b", source.cap, False),
    ]


def test_a_draw_keeps_all_answers_to_a_prompt():
    """Prompts are drawn, not answers, the same ones for the same seed."""
    rows = answers({"a": range(1, 40), "b": range(2, 41)})
    kept = drawn(rows, 7)
    assert len(kept) == 14
    assert len({r.prompt for r in kept}) == 7
    assert kept == drawn(rows, 7) != drawn(rows, 7, seed=1)


@pytest.mark.parametrize("name", [s.name for s in BENCHMARK_ONLY])
def test_what_only_judges_is_never_trained_on(name):
    """The two lists are apart, and every group that is left out in turn is of the first."""
    assert name not in {s.name for s in SHIPPABLE}
    assert sorted(n for names in GROUPS.values() for n in names) == sorted(s.name for s in SHIPPABLE)
