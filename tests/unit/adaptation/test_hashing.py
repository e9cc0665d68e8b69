"""What is kept of a text: the same for a prompt alone and in any batch, as it was defined one prompt at a time."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rankd.adaptation import FeatureHasher
from rankd.adaptation.features import BUCKETS, MOST_WORDS, pack, pack_text, unpack

HASHER = FeatureHasher(b"a key", "made@1.0.0")
PROMPTS = st.lists(
    arrays.arrays(np.int64, st.integers(0, 400), elements=st.integers(0, 2**20 - 1))
    | arrays.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 5)),
    max_size=8,
)


def words_by_definition(hasher, ids):
    """Buckets of one prompt, by operators that ONNX has for int64: Mul, Add, Mod, Unique, TopK."""
    single, first, second, add, place, step, shift, sift = hasher.multipliers
    inner = ids[1:-1]
    start = inner[:4]
    found = np.unique(
        np.concatenate(
            [
                np.mod(inner * single, BUCKETS),
                np.mod(inner[:-1] * first + inner[1:] * second + add, BUCKETS),
                np.mod(start * place + np.arange(len(start)) * step + shift, BUCKETS),
            ]
        )
    )
    if len(found) > MOST_WORDS:
        found = found[np.argsort(np.mod(found * sift, 65537), kind="stable")[:MOST_WORDS]]
    return found.astype(np.uint16)


def dense_by_definition(row):
    """A row in steps of a 127th of its largest number."""
    step = np.float32(float(np.abs(row).max()) / 127.0)
    if not np.finfo(np.float32).tiny <= step <= 1e6:
        return np.zeros(len(row), np.int8), 0.0
    return np.rint(row / step).astype(np.int8), float(step)


@settings(max_examples=300, deadline=None)
@given(PROMPTS)
def test_words_of_a_batch_are_those_of_each_prompt(prompts):
    """Empty prompts, of one token, very long ones, ids up to 2^20: each gets what it would get alone."""
    texts = HASHER.text(prompts)
    assert texts == [pack_text(words_by_definition(HASHER, p), np.zeros(0, np.int8), 0.0) for p in prompts]
    for prompt in prompts:
        assert HASHER.words(prompt).tolist() == words_by_definition(HASHER, prompt).tolist()


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 384)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(-1, 1, width=32),
    )
)
def test_pooled_features_of_a_batch_are_those_of_each_prompt(pooled):
    """Whatever numbers come, none warns or fails, and what is packed can be unpacked."""
    ids = [np.array([1, 7 + i, 2]) for i in range(len(pooled))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = HASHER.text(ids, pooled)
    with np.errstate(over="ignore", invalid="ignore"):
        assert texts == [
            pack_text(HASHER.words(i), *dense_by_definition(row)) for i, row in zip(ids, pooled, strict=True)
        ]
    for text, row in zip(texts, pooled, strict=True):
        found = unpack(pack(text))
        assert len(found.dense) == len(row)
        if found.scale:
            assert np.abs(found.dense * np.float64(found.scale) - row).max() <= found.scale * 0.51


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, np.float32(2e8), np.float32(-3e38)])
def test_a_number_that_is_none_costs_its_own_prompt_the_dense_features(wrong):
    """The words stay, and so does everything of its neighbours."""
    ids = [np.array([1, 5, 6, 2]), np.array([1, 5, 7, 2])]
    pooled = np.ones((2, 3), np.float32)
    whole = HASHER.text(ids, pooled)
    pooled[0, 1] = wrong
    broken = HASHER.text(ids, pooled)
    assert broken[1] == whole[1]
    features = unpack(pack(broken[0]))
    assert (features.dense.tolist(), features.scale) == ([0, 0, 0], 0.0)
    assert features.words.tolist() == HASHER.words(ids[0]).tolist()
    assert len(features.words) == 2 + 1 + 2


def test_an_empty_prompt_has_no_words():
    """Special tokens alone are no words; nor is nothing."""
    for ids in ([1, 2], [1], []):
        assert len(HASHER.words(np.array(ids, dtype=np.int64))) == 0
    assert HASHER.text([]) == []


def test_no_more_words_are_kept_than_may_travel():
    """Of a long prompt as many are kept as may travel, from all over it: not the first ones, nor the lowest."""
    ids = np.random.default_rng(0).integers(0, 30_000, 4096)
    kept = HASHER.words(ids)
    assert len(kept) == len(set(kept.tolist())) == MOST_WORDS
    assert unpack(pack(HASHER.text([ids])[0])).words.tolist() == kept.tolist()
    assert len(set(kept.tolist()) & set(HASHER.words(ids[:40]).tolist())) < 20
    assert kept.min() < BUCKETS / 10 < 9 * BUCKETS / 10 < kept.max()


def test_hashes_are_those_of_a_key_and_a_ranker_version():
    """Another key, or another ranker, shares no multiplier; the key id tells keys apart and says no more."""
    ids = np.arange(20)
    words = {
        key_version: FeatureHasher(*key_version).words(ids).tolist()
        for key_version in [(b"a key", "made@1.0.0"), (b"a key", "made@1.0.1"), (b"", "made@1.0.0")]
    }
    assert len({tuple(w) for w in words.values()}) == 3
    assert FeatureHasher(b"a key", "made@1.0.0").words(ids).tolist() == words[b"a key", "made@1.0.0"]
    assert FeatureHasher(b"a key", "made@1.0.0").key_id == HASHER.key_id != FeatureHasher(b"", "made@1.0.0").key_id
