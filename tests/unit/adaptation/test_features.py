"""Features as bytes: hostile ones are none, and never an error."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from rankd.adaptation.features import BUCKETS, MOST_DENSE, MOST_WORDS, Features, pack, pack_text, unpack

BUCKET = st.integers(0, BUCKETS - 1)


def check(found: Features | None) -> None:
    """Whatever came out can be learned from."""
    if found is not None:
        assert np.isfinite(found.numbers).all()
        assert np.isfinite(found.scale)
        for part in (found.words, found.shape):
            assert (part < BUCKETS).all()


@settings(max_examples=examples(300))
@given(st.binary(max_size=2100))
def test_any_bytes_are_features_or_none(data: bytes) -> None:
    check(unpack(data))
    check(unpack(b"\x01" + data))


@settings(max_examples=examples(200))
@given(
    st.lists(BUCKET, max_size=MOST_WORDS),
    st.lists(st.integers(-127, 127), max_size=MOST_DENSE),
    st.lists(BUCKET, max_size=24),
    st.data(),
)
def test_what_was_packed_comes_back_and_cut_or_changed_bytes_do_not_fail(
    words: list[int], dense: list[int], shape: list[int], data: st.DataObject
) -> None:
    packed = pack(
        pack_text(np.array(words, np.uint16), np.array(dense, np.int8), 0.5), (1.0, 2.0, 0.0, 0.5), tuple(shape)
    )
    found = unpack(packed)
    assert found is not None
    assert (found.words.tolist(), found.dense.tolist(), found.shape.tolist()) == (words, dense, shape)
    assert found.numbers == (1.0, 2.0, 0.0, 0.5)
    cut = data.draw(st.integers(0, len(packed)))
    check(unpack(packed[:cut]))
    place, value = data.draw(st.integers(0, len(packed) - 1)), data.draw(st.integers(0, 255))
    check(unpack(packed[:place] + bytes([value]) + packed[place + 1 :]))


def test_a_step_that_no_encoder_gives_is_refused() -> None:
    for scale in (float("inf"), float("nan"), -1.0, 1e30):
        assert unpack(pack(pack_text(np.zeros(0, np.uint16), np.ones(3, np.int8), scale))) is None
    assert unpack(struct.pack("<BB4e", 1, 0, 0.0, float("inf"), 0.0, 0.0)) is None
