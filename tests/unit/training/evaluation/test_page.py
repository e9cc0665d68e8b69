"""The page and the card: well-formed, complete in themselves, and without a word of any prompt."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from support.tiny_ranker import make_artifact

from rankd.errors import ConfigError
from rankd.html.svg import token_scale
from rankd.training.data.dataset import Row
from rankd.training.evaluation.evaluate import evaluate
from rankd.training.evaluation.page import page, write_page
from rankd.training.export.model_card import card, write_card

SECRET = "zebrafish"


def rows_of(count, **more):
    """Rows with prompts of the tiny ranker's words, and a word that no page may show."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        longer = int(rng.integers(0, 6))
        words = " ".join(["long"] * longer + [f"w{i % 58}", SECRET, str(i)])
        rows.append(Row(words, int(20 * (1 + longer) * rng.uniform(0.5, 2)) + 1, complete=True, **more))
    return rows


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    """A verdict with everything in it: two models, a ceiling, calibration, an ugly name."""
    ranker = make_artifact(tmp_path_factory.mktemp("ranker") / "tiny")
    several = [replace(r, samples=(r.tokens + 5, max(1, r.tokens - 7))) for r in rows_of(150, source="a", model="m")]
    return evaluate(ranker, [*several, *rows_of(90, source="b", model='<script>alert("&")</script>')])


def elements(text):
    """The page's elements; fails where it is not well-formed."""
    return list(ET.fromstring(text.removeprefix("<!DOCTYPE html>")).iter())


def test_the_page_is_well_formed_and_has_its_pictures(verdict):
    """It parses as XML throughout, so every tag is closed, and holds the drawings with finite coordinates."""
    found = elements(page(verdict))
    pictures = [e for e in found if e.tag == "svg" and e.get("role") == "img"]
    assert len(pictures) >= 3 + 2
    for element in found:
        for name in ("points", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy"):
            assert "nan" not in element.get(name, "")
            assert "inf" not in element.get(name, "")


def test_the_page_needs_nothing_from_elsewhere(verdict):
    """No script, no link, no address: it works from a mail and offline, and tells nobody that it is read."""
    text = page(verdict)
    assert not {"script", "link", "img", "iframe", "object", "a"} & {e.tag for e in elements(text)}
    assert not re.search(r"https?:|url\(|@import|src=|href=", text)
    assert "default-src 'none'" in text


def test_no_prompt_is_on_the_page_and_names_are_escaped(verdict):
    """Prompts stay where they are; a model's name is text, whatever it holds."""
    text = page(verdict)
    assert SECRET not in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_page_states_the_figures(verdict):
    """Tau, its interval, gain, ceiling and speed are there as numbers, beside light and dark styles for both widths."""
    text = page(verdict)
    overall = verdict.overall
    assert f"{overall.tau.value:.3f}" in text
    assert f"{overall.tau.low:.3f} to {overall.tau.high:.3f}" in text
    assert f"ceiling {overall.ceiling.tau:.3f}" in text
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 760px" in text
    for model in verdict.models:
        assert f"{model.rows:,} rows" in text


def test_a_page_of_little_is_well_formed_too(tmp_path):
    """Eight rows, no calibration, one model, no samples: what is missing is said, nothing breaks."""
    verdict = evaluate(make_artifact(tmp_path / "bare", calibration=False), rows_of(8))
    elements(page(verdict))
    assert "no calibration" in page(verdict)


def test_chance_is_called_chance(tmp_path):
    """Where the interval holds 0 the page does not praise the ranker."""
    rng = np.random.default_rng(1)
    rows = [Row(f"{'long ' * int(rng.integers(0, 9))}{i}", int(rng.integers(1, 900)), complete=True) for i in range(60)]
    text = page(evaluate(make_artifact(tmp_path / "tiny"), rows))
    assert "cannot be told from chance" in text


def test_a_page_that_cannot_be_written_names_its_flag(verdict, tmp_path):
    """Directories are made; where a file is in the way the error says which flag to change."""
    write_page(verdict, tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").stat().st_size > 5000
    with pytest.raises(ConfigError, match="--html"):
        write_page(verdict, tmp_path / "new" / "page.html" / "page.html")


@pytest.mark.parametrize("values", [[1.0], [5, 5], [3, 90_000], [0, 0.2], [1, 2**31]])
def test_token_scales_have_a_few_ticks_within_the_axis(values):
    """Whatever the lengths, there are a few ticks, ascending and on the axis."""
    scale = token_scale(values)
    assert 1 <= len(scale.ticks) <= 12
    assert list(scale.ticks) == sorted(scale.ticks)
    assert all(0 <= scale(t) <= 1 for t in scale.ticks)
    assert scale(scale.low) == 0
    assert scale(scale.high) == pytest.approx(1)


FIELDS = {
    "name": "tiny",
    "version": "1.0",
    "licence": "Apache-2.0",
    "truncation": {"max_tokens": 128, "head_tokens": 96, "tail_tokens": 32},
    "measured_tau": 0.51234,
    "precision": "int8",
    "data": [{"name": "a | b", "licence": "MIT", "rows": 1200}, {"name": "c", "licence": "Apache-2.0"}],
    "calibration": {"knots": [{"score": 0, "expected": 10}, {"score": 1, "expected": 300}], "mean_expected": 99},
}
MEASURED = [
    {"dataset": "x", "model": "m1", "rows": 100, "kendall_tau": 0.2, "realised_gain": 0.3, "trained_on": False},
    {"dataset": "x", "model": "m2", "rows": 100, "kendall_tau": 0.4, "trained_on": False},
    {"dataset": "y", "model": "m1", "rows": 50, "kendall_tau": 0.6, "trained_on": True},
]


def test_the_card_says_what_the_manifest_says():
    """Data, licences, figures by data set with their range, trained-on flags, limits and size are all in it."""
    text = card(
        FIELDS | {"limits": ["Never tried at sea."], "reproduce": "make rankers"}, MEASURED, {"model.onnx": 5_200_000}
    )
    assert "| a \\| b | MIT | 1,200 |" in text
    assert "**0.512**" in text
    assert "| x | no | 2 | 200 | 0.300 (0.200 to 0.400) | 0.30 |" in text
    assert "| y | yes | m1 | 50 | 0.600 |  |" in text
    assert text.index("| x |") < text.index("| y |")
    assert "the first 96 and the last 32" in text
    assert "5.2 MB `model.onnx`" in text
    assert "- Never tried at sea." in text
    assert "`make rankers`" in text
    assert "10 to 300 expected tokens" in text


def test_a_card_of_the_least_manifest_says_what_is_not_known():
    """Without figures, data and calibration the card says so, and leaves nothing half said."""
    text = card({k: FIELDS[k] for k in ("name", "version", "licence", "truncation")}, [], {})
    assert "not measured" in text
    assert "Not stated" in text
    assert "None" in text
    assert "Batches" not in text
    assert "|" not in text


def test_the_card_is_written_beside_the_model_with_the_same_bytes(tmp_path):
    """Two cards of one directory are equal, and state the sizes of the files there."""
    directory = make_artifact(tmp_path / "tiny")
    for name in ("README.md", "again.md"):
        write_card(FIELDS, MEASURED, directory / name)
    assert (directory / "README.md").read_bytes() == (directory / "again.md").read_bytes()
    assert "`tokenizer.json`" in (directory / "README.md").read_text()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_card(FIELDS, MEASURED, tmp_path / "nowhere" / "README.md")
