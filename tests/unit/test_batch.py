"""The queue in front of the model."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.batch import LATE_SECONDS, BatchQueue, Entry, Waiter

SPT = 1e-4


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entry(loop, tokens, deadline=None, name=b""):
    e = Entry(name or bytes([tokens % 256]), None, tokens, ids=np.ones(tokens, dtype=np.int64))
    if deadline is not None:
        e.waiters.append(Waiter(deadline, loop.create_future(), left=1))
    return e


def queue(**limits):
    return BatchQueue(128, **({"max_tokens": 256, "max_prompts": 64, "max_padding_share": 0.25} | limits))


def test_earliest_deadline_leads(loop):
    """A bulk caller with a long deadline does not hold up a short one that came later."""
    q = queue()
    bulk = [entry(loop, 100, deadline=60.0) for _ in range(20)]
    for e in bulk:
        q.add(e)
    urgent = entry(loop, 10, deadline=0.05)
    q.add(urgent)
    assert q.form(0.0, SPT) == [urgent]


def test_a_deadline_that_cannot_be_met_yields(loop):
    """Among those who wait, one whose time is up does not take the place of one that can still be served."""
    q = queue()
    lost, good = entry(loop, 100, deadline=0.005), entry(loop, 10, deadline=0.05)
    q.add(lost)
    q.add(good)
    assert q.form(0.0, SPT) == [good]
    assert q.form(0.0, SPT) == [lost]
    assert q.form(0.0, SPT) == []


def test_live_before_late(loop):
    """Work that nobody waits for costs those who wait nothing."""
    q = queue()
    late = [entry(loop, 20) for _ in range(5)]
    for e in late:
        q.add(e)
    live = entry(loop, 20, deadline=1.0)
    q.add(live)
    assert q.form(0.0, SPT) == [live]
    assert q.form(0.0, SPT) == late


def test_late_work_comes_in_small_batches_where_the_model_is_slow(loop):
    """Whoever comes while a late batch runs has to wait for it: it may take LATE_SECONDS, not more."""
    q = queue()
    for _ in range(10):
        q.add(entry(loop, 20))
    assert len(q.form(0.0, LATE_SECONDS / 60)) == 3
    assert len(q.form(0.0, SPT / 100)) == 7


def test_a_late_entry_that_is_asked_for_again_is_live(loop):
    """Filing anew after a caller joined moves an entry ahead of other late ones."""
    q = queue(max_padding_share=0.0)
    first, second = entry(loop, 30), entry(loop, 60)
    q.add(first)
    q.add(second)
    second.waiters.append(Waiter(1.0, loop.create_future(), left=1))
    q.moved(second)
    assert q.form(0.0, SPT) == [second]
    assert q.form(0.0, SPT) == [first]


def test_neighbours_in_length_ride_along(loop):
    """A batch is filled with entries of like length, not with whatever came next."""
    q = queue(max_tokens=100)
    lead = entry(loop, 20, deadline=0.5)
    far, near = entry(loop, 120, deadline=1.0), entry(loop, 21, deadline=2.0)
    for e in (lead, far, near):
        q.add(e)
    assert q.form(0.0, SPT) == [lead, near]


@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=200),
    share=st.floats(0, 1),
    max_tokens=st.integers(1, 2048),
    max_prompts=st.integers(1, 64),
    multiple=st.sampled_from([1, 8, 16]),
    late=st.sets(st.integers(0, 199)),
)
def test_every_entry_comes_out_once_within_the_limits(lengths, share, max_tokens, max_prompts, multiple, late):
    """Whatever the lengths, each entry is in exactly one batch, and a batch of several obeys every limit."""
    loop = asyncio.new_event_loop()
    try:
        q = BatchQueue(128, max_tokens=max_tokens, max_prompts=max_prompts, max_padding_share=share, multiple=multiple)
        entries = [entry(loop, n, deadline=None if i in late else i * 0.01) for i, n in enumerate(lengths)]
        for e in entries:
            q.add(e)
        out = []
        while batch := q.form(0.0, SPT):
            width = max(e.tokens for e in batch)
            if len(batch) > 1:
                assert len(batch) <= max_prompts
                assert (width + -width % multiple) * len(batch) <= max_tokens
                assert width * len(batch) - sum(e.tokens for e in batch) <= share * width * len(batch) + 1e-9
            out += batch
        assert len(out) == len(entries)
        assert set(out) == set(entries)
        assert len(q) == 0
    finally:
        loop.close()
