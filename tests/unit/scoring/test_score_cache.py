"""The score cache and the permits."""

from hypothesis import given
from hypothesis import strategies as st

from rankd.scoring.admission import Admission
from rankd.scoring.score_cache import ScoreCache


def test_the_least_recently_used_goes_first():
    """Reading a score keeps it; the one that nobody read is dropped."""
    cache = ScoreCache(2, "r@1")
    a, b, c = (cache.digest(t) for t in "abc")
    cache.put(a, 1.0)
    cache.put(b, 2.0)
    assert cache.get(a) == 1.0
    cache.put(c, 3.0)
    assert cache.get(b) is None
    assert (cache.get(a), cache.get(c), len(cache)) == (1.0, 3.0, 2)


def test_digests_are_keyed():
    """Two processes, or two ranker versions, share no digest: a digest tells nothing about a prompt elsewhere."""
    one, two = ScoreCache(1, "r@1"), ScoreCache(1, "r@1")
    assert one.digest("x") != two.digest("x")
    assert one.digest("x") == one.digest("x")


def test_no_entries_is_a_setting():
    """A cache of size 0 keeps nothing and fails nothing."""
    cache = ScoreCache(0, "r@1")
    cache.put(cache.digest("x"), 1.0)
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
