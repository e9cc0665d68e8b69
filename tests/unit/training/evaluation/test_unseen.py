"""`rankd evaluate` leaves out what a ranker was made of."""

import json

import pytest
from support.ranker_start import rehash, with_trained_rows
from support.tiny_ranker import make_artifact

from rankd.cli import main
from rankd.registry.artifact import load_artifact
from rankd.training.data.row import Row
from rankd.training.evaluation.unseen import in_words, unseen_rows
from rankd.training.export.trained_rows import with_traffic

ROWS = [Row("long " * (i % 5) + "short " * (i % 3) + "abcdefghij"[i % 10] * (i + 1), 10 + i, True) for i in range(60)]


@pytest.fixture
def ranker(tmp_path):
    return make_artifact(tmp_path / "ranker")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": r.prompt, "output_tokens": r.tokens}) + "\n" for r in ROWS))
    return path


def evaluated(ranker, data, capsys, *flags):
    status = main(["evaluate", "--ranker", str(ranker), "--data", str(data), "--json", *flags])
    out, err = capsys.readouterr()
    return status, (json.loads(out) if out else None), err


def test_rows_that_it_was_made_of_are_left_out(ranker, data, capsys):
    """Said in words and in the JSON; all rows count where that is asked for."""
    with_trained_rows(ranker, ROWS[:20])
    status, out, err = evaluated(ranker, data, capsys)
    assert (status, out["data"]["trained_rows_left_out"], out["rows"]) == (0, 20, 40)
    assert "20 rows left out" in err
    _, out, err = evaluated(ranker, data, capsys, "--trained-rows")
    assert (out["data"]["trained_rows_left_out"], out["rows"]) == (0, 60)
    assert "left out" not in err


def test_nothing_left_is_an_error_that_says_so(ranker, data, capsys):
    """With both remedies."""
    with_trained_rows(ranker, ROWS)
    status, _, err = evaluated(ranker, data, capsys)
    assert status == 2
    assert "all 60 rows" in err
    assert "--trained-rows" in err


def test_a_ranker_that_does_not_say_is_warned_of(ranker, data, capsys):
    """Nothing is left out, since nothing is known."""
    status, out, err = evaluated(ranker, data, capsys)
    assert (status, out["rows"]) == (0, 60)
    assert "does not say what it was trained on" in err


def test_baked_traffic_is_left_out_by_its_time(ranker):
    """Rows without a time are taken for others."""
    rehash(ranker, trained_rows=with_traffic({"sources": []}, "m", 5, 1.7e9))
    rows = [Row(f"{i}", 5, True, model="m", at=at) for i, at in enumerate((1.6e9, 1.7e9, 1.8e9, None))]
    unseen = unseen_rows([load_artifact(ranker)], [*rows, Row("x", 5, True, model="n", at=1.6e9)])
    assert [r.prompt for r in unseen.rows] == ["2", "3", "x"]
    assert "2 rows left out" in in_words(unseen)
