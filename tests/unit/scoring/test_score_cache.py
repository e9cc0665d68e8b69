"""The score cache and the permits."""

import random
import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from rankd.scoring.admission import Admission
from rankd.scoring.score_cache import ENTRY_BYTES, ScoreCache
from rankd.types import Scored


def test_the_least_recently_used_goes_first():
    """Reading a score keeps it; the one that nobody read is dropped."""
    cache = ScoreCache(2, "r@1")
    a, b, c = (cache.digest(t) for t in "abc")
    cache.put(a, Scored(1.0))
    cache.put(b, Scored(2.0))
    assert cache.get(a) == Scored(1.0)
    cache.put(c, Scored(3.0, b"text"))
    assert cache.get(b) is None
    assert (cache.get(a), cache.get(c), len(cache)) == (Scored(1.0), Scored(3.0, b"text"), 2)


def test_what_is_kept_is_bounded_in_bytes():
    """Texts' features count; what makes room is the least recently used, and a replaced score counts once."""
    cache = ScoreCache(1000, "r@1", 10 * (ENTRY_BYTES + 100))
    digests = [cache.digest(str(i)) for i in range(20)]
    for digest in digests:
        cache.put(digest, Scored(1.0, bytes(100)))
        cache.put(digest, Scored(1.0, bytes(100)))
    assert [cache.get(d) is not None for d in digests] == [False] * 10 + [True] * 10
    for digest in digests:
        cache.put(digest, Scored(2.0))
    assert len(cache) == 10 * (ENTRY_BYTES + 100) // ENTRY_BYTES
    cache.put(digests[0], Scored(3.0, bytes(5000)))
    assert len(cache) == 0  # it alone is too much


def test_bytes_are_what_memory_is_taken():
    """A full cache takes about as much memory as it counts."""
    tracemalloc.start()
    try:
        cache = ScoreCache(10_000, "r@1")
        texts = [random.randbytes(600) for _ in range(10_000)]
        before = tracemalloc.get_traced_memory()[0] - sum(map(sys.getsizeof, texts))
        for i, text in enumerate(texts):
            cache.put(cache.digest(str(i)), Scored(float(i), text))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 < taken / (10_000 * (ENTRY_BYTES + 600)) < 1.1


def test_digests_are_keyed():
    """Two processes, or two ranker versions, share no digest: a digest tells nothing about a prompt elsewhere."""
    one, two = ScoreCache(1, "r@1"), ScoreCache(1, "r@1")
    assert one.digest("x") != two.digest("x")
    assert one.digest("x") == one.digest("x")


def test_no_entries_is_a_setting():
    """A cache of size 0 keeps nothing and fails nothing."""
    cache = ScoreCache(0, "r@1")
    cache.put(cache.digest("x"), Scored(1.0))
    assert cache.get(cache.digest("x")) is None


def test_lone_surrogates_have_a_digest():
    """Text that is not valid UTF-8 does not break hashing."""
    assert len(ScoreCache(1, "r").digest("\ud800")) == 16


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 20), st.integers(1, 200))
def test_permits_never_exceed_the_limits(sizes, max_prompts, max_tokens):
    """Whatever is asked for, prompts and tokens stay within the limits and come back to zero."""
    admission = Admission(max_prompts, max_tokens)
    taken = []
    for size in sizes:
        if admission.fits(size):
            admission.take(size)
            taken.append(size)
        assert admission.prompts <= max_prompts
        assert admission.tokens <= max_tokens
    for size in taken:
        admission.give_back(size)
    assert (admission.prompts, admission.tokens) == (0, 0)
