"""From text to tokens, with the bundled tokenizer."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.registry.loaded import reach_of
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.types import PromptReach

ARTIFACT = load_artifact(default_ranker_path())
TOKENISER = Tokeniser(ARTIFACT.tokenizer_path, Truncation(128, 64, 64))


@given(st.lists(st.text(max_size=400), max_size=8))
def test_any_text_fits_the_model(texts):
    """1 to max_tokens tokens, special tokens at both ends, whatever the text; the estimate is never above the limit."""
    cut = [TOKENISER.cut(t) for t in texts]
    for text, ids in zip(cut, TOKENISER.encode(cut), strict=True):
        assert ids.dtype == np.int64
        assert 2 <= len(ids) <= 128
        assert (ids[0], ids[-1]) == (101, 102)
        assert 1 <= TOKENISER.estimate(text) <= 128


def test_short_prompts_are_read_whole():
    """Cutting and assembling change nothing below the limit."""
    text = "What is the capital of France?"
    assert TOKENISER.cut(text) == text
    whole = TOKENISER._tokenizer.encode(text).ids
    assert TOKENISER.encode([text])[0].tolist() == whole


def test_long_prompts_keep_both_ends():
    """The first tokens of the head and the last of the tail are there, at the full length."""
    head, tail = "alpha beta gamma", "delta epsilon omega"
    text = head + " filler" * 5000 + " " + tail
    ids = TOKENISER.encode([TOKENISER.cut(text)])[0].tolist()
    assert len(ids) == 128
    encode = TOKENISER._tokenizer.encode
    first, last = encode(head, add_special_tokens=False).ids, encode(tail, add_special_tokens=False).ids
    assert ids[1 : 1 + len(first)] == first
    assert ids[-1 - len(last) : -1] == last


def test_what_is_cut_away_costs_nothing():
    """A prompt of a megabyte is cut to a few thousand characters before it is queued."""
    assert len(TOKENISER.cut("word " * 200_000)) <= 16 * 128 + 1


def test_a_wrong_tokenizer_is_named(tmp_path):
    """A file that is no tokenizer, and a limit that leaves no room, are errors with the file's name."""
    bad = tmp_path / "tokenizer.json"
    bad.write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be read"):
        Tokeniser(bad, Truncation(128, 64, 64))
    with pytest.raises(ArtifactError, match="leaves no room"):
        Tokeniser(ARTIFACT.tokenizer_path, Truncation(2, 1, 1))


@given(
    st.integers(0, 3000).map(lambda n: "abcdefg" * n),
    st.integers(3, 12),
    st.integers(0, 12),
    st.integers(0, 2000),
    st.integers(0, 2000),
)
def test_what_is_kept_of_a_prompt_reads_like_all_of_it(text, most, tail, more_head, more_tail):
    """Whatever else is kept for others beside what a tokeniser can reach, it makes the same of it as of the prompt."""
    truncation = Truncation(most, most - min(tail, most), min(tail, most))
    tokeniser, reach = _tokeniser(truncation), reach_of(truncation)
    kept = PromptReach(reach.head + more_head, reach.tail + more_tail).cut(text)
    assert tokeniser.cut(kept) == tokeniser.cut(text)
    assert tokeniser.cut(tokeniser.cut(text)) == tokeniser.cut(text)
    assert len(kept) <= reach.head + reach.tail + more_head + more_tail + 1


@cache
def _tokeniser(truncation):
    return Tokeniser(ARTIFACT.tokenizer_path, truncation)
