"""Whose turn it is: callers alternate, whatever each of them has waiting, and nobody's going away stops the others."""

import asyncio

import pytest

from rankd.ranking.ranker import run_at_once
from rankd.transport import time_slices
from rankd.transport.time_slices import TimeSlices


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 30))


async def work(slices, caller, steps, done):
    """Some steps, a slice each, noted as they are done."""
    time_slices._caller.set(caller)
    async with slices.acquire() as time_slice:
        for _ in range(steps):
            done.append(caller)
            await time_slice.next()


def test_callers_alternate_however_many_messages_one_has():
    """Twenty messages of one caller and one of another: the other is served every second time, not every 21st."""

    async def scenario():
        slices, done = TimeSlices(0.0), []
        many = [asyncio.create_task(work(slices, "many", 5, done)) for _ in range(20)]
        await asyncio.sleep(0)
        await work(slices, "one", 5, done)
        await asyncio.gather(*many)
        return done

    done = run(scenario)
    assert len(done) == 105
    places = [n for n, caller in enumerate(done) if caller == "one"]
    assert places[-1] <= 12, places


def test_three_callers_have_a_third_each():
    """As long as all of them have something to do."""

    async def scenario():
        slices, done = TimeSlices(0.0), []
        await asyncio.gather(
            *(work(slices, caller, 10, done) for caller, n in (("a", 9), ("b", 3), ("c", 1)) for _ in range(n))
        )
        return done

    done = run(scenario)
    assert all(done[:24].count(caller) >= 6 for caller in "abc")


@pytest.mark.parametrize("when", ["waiting", "its turn", "working"])
def test_who_goes_away_holds_up_nobody(when):
    """Cancelled while it waits, in the moment that its turn comes, or at work."""

    async def scenario():
        slices, done = TimeSlices(0.0), []
        async with slices.acquire() as first:
            gone = asyncio.create_task(work(slices, "gone", 50, done))
            after = asyncio.create_task(work(slices, "after", 2, done))
            await asyncio.sleep(0)
            if when == "waiting":
                gone.cancel()
            first.end()
            if when == "its turn":
                gone.cancel()
        if when == "working":
            await asyncio.sleep(0)
            gone.cancel()
        await after
        with pytest.raises(asyncio.CancelledError):
            await gone
        return done

    assert run(scenario).count("after") == 2


def test_a_rest_is_as_long_as_the_slice_but_for_who_is_alone():
    """Work that hurries, with no other call under way, does not rest; with one it does."""
    assert run(lambda: rests(1, steps=5)) == [0] * 5
    assert all(seconds > 0 for seconds in run(lambda: rests(2, steps=5)))


def test_there_is_a_rest_between_messages_too():
    """Many that are done within a slice each are long work together; a few are not."""
    assert run(lambda: rests(9, messages=4)) == []
    seen = run(lambda: rests(99, messages=4))
    assert len(seen) == 4
    assert all(seconds > 0 for seconds in seen)


async def rests(in_flight, *, messages=1, steps=0):
    """How long each rest was that messages of so many steps had, each step a slice."""
    slices = TimeSlices(0.0 if steps else 3600.0)
    slices.in_flight = lambda: in_flight
    loop = asyncio.get_running_loop()
    seen, call_later = [], loop.call_later

    def noted(seconds, *arguments):
        seen.append(seconds)
        return call_later(seconds, *arguments)

    def work():
        for _ in range(steps):
            yield
        return "done"

    loop.call_later = noted
    try:
        assert await asyncio.gather(*(slices.run(work()) for _ in range(messages))) == ["done"] * messages
    finally:
        loop.call_later = call_later
    return seen


def test_short_work_is_done_at_once():
    """And an error of it is raised as any other."""

    def steps(fail):
        yield
        if fail:
            raise ValueError("no")
        return 7

    assert run(lambda: run_at_once(steps(False))) == 7
    with pytest.raises(ValueError, match="no"):
        run(lambda: run_at_once(steps(True)))
