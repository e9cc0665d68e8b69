"""The queue in front of the model."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.scoring.batch_queue import SHARED_SECONDS, URGENT_MEMORY, BatchQueue, CallWaiter, QueuedPrompt, UrgentDemand

SPT = 1e-4


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entry(loop, tokens, deadline=None, name=b""):
    e = QueuedPrompt(name or bytes([tokens % 256]), None, tokens, ids=np.ones(tokens, dtype=np.int64))
    if deadline is not None:
        e.join(CallWaiter(deadline, loop.create_future()))
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
    """Whoever comes while a late batch runs has to wait for it: while such callers come, it is kept short."""
    q = queue()
    for _ in range(20):
        q.add(entry(loop, 20))
    q.note_urgent(0.0)
    assert len(q.form(0.0, SHARED_SECONDS / 60)) == 3
    assert q.form(0.0, SPT, ahead=2 * SHARED_SECONDS) == []
    assert len(q.form(URGENT_MEMORY + 1, SHARED_SECONDS / 60)) == 12  # the limit of a batch


def test_bulk_and_late_take_turns(loop):
    """A caller with a minute's time does not starve what an engine will ask for again, nor is it starved by that."""
    q = queue(max_prompts=1)
    bulk = [entry(loop, 20, deadline=60.0) for _ in range(2)]
    late = [entry(loop, 20) for _ in range(2)]
    for e in (*bulk, *late):
        q.add(e)
    urgent = entry(loop, 20, deadline=0.5)
    q.add(urgent)
    assert [q.form(0.0, SPT)[0] for _ in range(5)] == [urgent, bulk[0], late[0], bulk[1], late[1]]


def test_demand_counts_an_entry_once(loop):
    """However many wait for it, and only until the model has it; what is due later is not in the way."""
    demand = UrgentDemand()
    shared, later, bulk = entry(loop, 20, deadline=0.3), entry(loop, 30, deadline=0.9), entry(loop, 40, deadline=60.0)
    for _ in range(5):
        shared.join(CallWaiter(0.4, loop.create_future()))
    for e in (shared, later, bulk, shared):
        demand.count(e, 0.0)
    assert [demand.until(d) for d in (0.2, 0.5, 0.9)] == [0, 20, 50]
    demand.drop(shared)
    demand.drop(shared)
    assert demand.until(0.9) == 30


def test_the_earliest_deadline_follows_the_callers(loop):
    """It is that of whoever still waits, in whatever order they come and go."""
    e = entry(loop, 20)
    waiters = [CallWaiter(d, loop.create_future()) for d in (5.0, 1.0, 3.0, 1.0)]
    for w in waiters:
        e.join(w)
    seen = [e.deadline]
    for i in (1, 0, 3, 2):
        e.leave(waiters[i])
        seen.append(e.deadline)
    assert seen == [1.0, 1.0, 1.0, 3.0, float("inf")]
    assert [w.left for w in waiters] == [0, 0, 0, 0]


def test_a_late_entry_that_is_asked_for_again_is_live(loop):
    """Filing anew after a caller joined moves an entry ahead of other late ones."""
    q = queue(max_padding_share=0.0)
    first, second = entry(loop, 30), entry(loop, 60)
    q.add(first)
    q.add(second)
    second.join(CallWaiter(1.0, loop.create_future()))
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
