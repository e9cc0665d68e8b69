"""Glosses of Chinese characters: where their vectors start."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from rankd.training.bases.chinese_glosses import (  # noqa: E402
    common_characters,
    gloss_vectors,
    read_glosses,
)
from rankd.training.bases.load import load_base  # noqa: E402


@pytest.fixture(scope="module")
def minilm():
    base = load_base("minilm")
    return base.tokenizer, base.module(0).token_embeddings().weight.detach().numpy()


@pytest.mark.parametrize(("character", "word"), [("\u5199", "write"), ("\u77ed", "short"), ("\u4e09", "three")])
def test_a_character_starts_at_what_it_means(minilm, character, word):
    """Its vector is nearer to its gloss than to any other of these words, and as long as a word's vector is."""
    tokenizer, table = minilm
    vector = gloss_vectors([character], tokenizer, table)[character]
    words = ["write", "short", "three", "house", "river", "angry", "buy", "green"]
    rows = table[[tokenizer.token_to_id(w) for w in words]]
    near = rows @ vector / np.linalg.norm(rows, axis=1)
    assert words[int(near.argmax())] == word
    assert np.linalg.norm(vector) == pytest.approx(np.median(np.linalg.norm(table, axis=1)), rel=1e-5)


def test_a_vector_is_the_mean_over_senses_of_means_over_words(minilm):
    """Against the definition, with words that mean nothing left out."""
    tokenizer, table = minilm
    assert read_glosses()["\u5199"] == ("write", "draw", "sketch")
    rows = np.mean([table[tokenizer.token_to_id(w)] for w in ("write", "draw", "sketch")], axis=0)
    vector = gloss_vectors(["\u5199"], tokenizer, table)["\u5199"]
    assert vector / np.linalg.norm(vector) == pytest.approx(rows / np.linalg.norm(rows), abs=1e-6)


def test_characters_without_a_gloss_are_left_out(minilm):
    """Nothing is made up for them, and nearly all of the common ones have one."""
    tokenizer, table = minilm
    assert gloss_vectors(["a", "\u3042"], tokenizer, table) == {}
    assert len(read_glosses()) > 0.99 * len(common_characters())
