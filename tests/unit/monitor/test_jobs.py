"""Work for a worker thread, on a real event loop and a real executor."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from rankd.monitor.jobs import SingleFlight


@pytest.fixture
def executor():
    with ThreadPoolExecutor(4) as made:
        yield made


def waits_for(event: threading.Event, result: str):
    """Work that ends when an event is set."""

    def work() -> str:
        assert event.wait(20)
        return result

    return lambda: work


async def landed(jobs: SingleFlight, key: object) -> None:
    """Wait until nothing is in flight for a key, nor asked for again."""
    while (flight := jobs.flight(key)) is not None:
        await asyncio.wait([flight])


def test_one_at_a_time_for_each_key(executor):
    """A second piece of work for a key does not start, and is not even prepared; one for another key does."""

    async def scenario() -> list[str]:
        jobs, free, taken = SingleFlight(executor), threading.Event(), []
        first = jobs.start("a", waits_for(free, "a"), taken.append)
        second = jobs.start("a", lambda: pytest.fail("prepared"), taken.append)
        assert second is first is jobs.flight("a")
        await asyncio.wait([jobs.start("b", lambda: lambda: "b", taken.append)])
        assert taken == ["b"]
        free.set()
        await landed(jobs, "a")
        assert jobs.flight("b") is None
        await asyncio.wait([jobs.start("a", lambda: lambda: "next", taken.append)])
        return taken

    assert asyncio.run(scenario()) == ["b", "a", "next"]


def test_the_result_is_taken_before_who_waits_goes_on(executor):
    """Whoever awaits a flight finds its result taken, in the event loop's thread."""

    async def scenario() -> None:
        jobs, taken = SingleFlight(executor), []
        flight = jobs.start("a", lambda: threading.get_ident, lambda ran: taken.append((ran, threading.get_ident())))
        await asyncio.wait([flight])
        ((ran, took),) = taken
        assert took == threading.get_ident() != ran

    asyncio.run(scenario())


def test_asked_meanwhile_it_is_asked_again_once(executor):
    """Any number of calls during a flight lead to one call of ``again`` after it, and a call before it to none."""

    async def scenario() -> list[str]:
        free, taken = threading.Event(), []
        jobs = SingleFlight(executor, lambda key: jobs.start(key, lambda: lambda: "second", taken.append))
        assert not jobs.ask_again("a"), "nothing is in flight"
        jobs.start("a", waits_for(free, "first"), taken.append)
        for _ in range(5):
            jobs.start("a", lambda: pytest.fail("prepared"), taken.append)
            assert jobs.ask_again("a")
        free.set()
        await landed(jobs, "a")
        return taken

    assert asyncio.run(scenario()) == ["first", "second"]


def test_an_error_is_logged_without_its_text_and_stops_nothing(executor):
    """Work that fails is not taken; what was asked meanwhile is asked again, and the key is free."""

    async def scenario() -> list[str]:
        free, taken = threading.Event(), []
        jobs = SingleFlight(executor, lambda key: jobs.start(key, lambda: lambda: "again", taken.append))

        def fails() -> str:
            assert free.wait(20)
            raise ValueError("a secret prompt")

        jobs.start("a", lambda: fails, taken.append)
        jobs.start("a", lambda: fails, taken.append)
        free.set()
        await landed(jobs, "a")
        return taken

    with structlog.testing.capture_logs() as logs:
        assert asyncio.run(scenario()) == ["again"]
    ((event, kind),) = [(e["event"], e["error_type"]) for e in logs]
    assert (event, kind) == ("internal_error", "ValueError")
    assert "secret" not in str(logs)


def test_cancelled_work_is_not_taken_and_frees_its_key(executor):
    """A flight that somebody cancels is over: nothing is taken, nothing asked again."""

    async def scenario() -> list[str]:
        free, taken = threading.Event(), []
        jobs = SingleFlight(executor, lambda key: taken.append(f"{key} again"))
        flight = jobs.start("a", waits_for(free, "a"), taken.append)
        jobs.start("a", waits_for(free, "a"), taken.append)
        flight.cancel()
        await landed(jobs, "a")
        free.set()
        await asyncio.wait([jobs.start("a", lambda: lambda: "next", taken.append)])
        return taken

    with structlog.testing.capture_logs() as logs:
        assert asyncio.run(scenario()) == ["next"]
    assert logs == []


def test_closed_it_starts_nothing():
    """What runs ends by itself, what waits for the thread is cancelled, and later work does not start."""

    async def scenario() -> list[str]:
        free, taken = threading.Event(), []
        jobs = SingleFlight(ThreadPoolExecutor(1), lambda key: taken.append(f"{key} again"))
        running = jobs.start("a", waits_for(free, "a"), taken.append)
        waiting = jobs.start("b", waits_for(free, "b"), taken.append)
        jobs.start("a", lambda: pytest.fail("prepared"), taken.append)
        jobs.close()
        assert jobs.start("c", lambda: pytest.fail("prepared"), taken.append) is None
        free.set()
        await asyncio.wait([running, waiting])
        assert waiting.cancelled()
        assert jobs.flight("a") is jobs.flight("b") is None
        return taken

    assert asyncio.run(scenario()) == ["a"]
