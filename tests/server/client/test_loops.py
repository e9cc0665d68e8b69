"""One AsyncRankClient over several event loops: one after another, at the same time, and loops that end untidily."""

import ast
import asyncio
import gc
import logging
import socket
import subprocess
import sys
import threading
import warnings

import pytest
from rankd_client import AsyncRankClient, Completed, Item, Prediction, RankdUnavailableError
from rankd_client.integration import CircuitBreaker, IntegrationSettings

PROMPTS = ["long long", "short"]


async def everything(client):
    """Each thing that a client offers, over the loop that runs."""
    assert (await client.rank(PROMPTS)).order == [1, 0]
    assert not (await client.report([Completed("x", Prediction(), 1)])).error
    assert (await client.quality()).policies is not None
    async for report in client.watch_quality():
        assert report.policies is not None
        break


async def step(stream, name):
    order = await stream.step([Item(name, request_id=name)], max_wait=10)
    return order, stream.reason


@pytest.fixture
def quiet_asyncio(caplog):
    """Nothing is complained of: neither by asyncio, nor by a warning."""
    caplog.set_level(logging.WARNING, "asyncio")
    gc.collect()  # what other tests left is not this one's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []


@pytest.mark.usefixtures("quiet_asyncio")
def test_a_client_of_module_level_serves_one_loop_after_another(daemon):
    """Made where there is no loop, and used by `asyncio.run` thrice: each call of each kind is answered."""
    client = AsyncRankClient(daemon.target, timeout=30)
    for _ in range(3):
        asyncio.run(everything(client))
    assert client.stats.ranked == client.stats.calls == 3
    assert not client._connections._of, "a loop's connection ends with it"


def test_a_client_may_be_made_where_a_thread_has_no_loop(daemon):
    """As in a worker thread: the constructor needs no loop."""
    made = []
    thread = threading.Thread(target=lambda: made.append(AsyncRankClient(daemon.target, timeout=30)))
    thread.start()
    thread.join()
    asyncio.run(everything(made[0]))


@pytest.mark.usefixtures("quiet_asyncio")
def test_a_stream_goes_on_in_the_next_loop(daemon):
    """Its queue is the client's: the next loop opens it anew and tells the daemon all of it."""
    stream = AsyncRankClient(daemon.target, timeout=30).stream()
    assert asyncio.run(step(stream, "long")) == (["long"], "")
    assert asyncio.run(step(stream, "short")) == (["short", "long"], "")
    asyncio.run(stream.close())


@pytest.mark.usefixtures("quiet_asyncio")
def test_loops_in_threads_share_a_client_and_a_stream(daemon):
    """Four loops at the same time, one after another in each thread; steps take turns over all of them."""
    client = AsyncRankClient(daemon.target, timeout=60)
    stream = client.stream()
    orders, failed = [], []

    async def work(name):
        await everything(client)
        orders.append(await step(stream, name))

    def run(thread):
        try:
            for n in range(3):
                asyncio.run(work(f"{thread}-{n}"))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    assert len(orders) == 12
    assert sorted(len(order) for order, _ in orders) == list(range(1, 13)), "every step saw those before it"


@pytest.fixture
def silent():
    """Somebody who is connected to and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.filterwarnings("ignore")
def test_a_loop_that_is_closed_under_a_step_keeps_nobody_waiting(silent):
    """Stopped and closed without its tasks: the next loop takes its turn, over a stream of its own."""
    stream = AsyncRankClient(silent, timeout=60).stream()
    loop = asyncio.new_event_loop()
    task = loop.create_task(stream.step([Item("a", request_id="a")]))
    loop.run_until_complete(asyncio.wait([task], timeout=0.02))
    loop.close()
    assert asyncio.run(stream.step([Item("b", request_id="b")], timeout=0.1)) == ["a", "b"]
    assert stream.reason


@pytest.mark.usefixtures("quiet_asyncio")
def test_calls_that_run_when_their_loop_ends_are_cancelled(silent):
    """`asyncio.run` whose main ends with calls under way; the next loop has a connection of its own."""
    client = AsyncRankClient(silent, timeout=60)
    tasks = []

    async def leave():
        tasks.extend(asyncio.ensure_future(client.rank(PROMPTS)) for _ in range(3))
        await asyncio.sleep(0.02)

    asyncio.run(leave())
    assert all(task.cancelled() for task in tasks)
    assert asyncio.run(client.rank(PROMPTS, timeout=0.1)).failed


def test_a_closed_client_is_closed_in_every_loop(daemon):
    """Its reason says so, in this loop and in the next."""
    client = AsyncRankClient(daemon.target, timeout=30)

    async def close():
        await everything(client)
        await client.close()
        assert (await client.rank(PROMPTS)).reason == "error:CANCELLED"

    asyncio.run(close())
    assert asyncio.run(client.rank(PROMPTS)).failed
    assert client.stats.last_error == "the client was closed"
    with pytest.raises(RankdUnavailableError, match="the client was closed"):
        asyncio.run(client.quality())


MANY = """
import asyncio, gc, os, sys, threading
from rankd_client import AsyncRankClient, Item
client = AsyncRankClient(sys.argv[1], timeout=30)
stream = client.stream()
def left(times):
    for n in range(times):
        assert not asyncio.run(client.rank(["a", "b"])).failed
        if n % 5 == 0:
            asyncio.run(stream.step([Item("x", request_id=str(n))]))
    gc.collect()
    loops = sum(isinstance(o, asyncio.AbstractEventLoop) for o in gc.get_objects())
    return loops, threading.active_count(), len(os.listdir("/proc/self/fd"))
print(left(10), left(100))
"""


def test_many_loops_leave_nothing_behind(daemon):
    """In a process of its own: loops, threads and descriptors after 100 more loops are as after the first."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, daemon.target], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    few, many = ast.literal_eval(done.stdout.replace(") (", "), ("))
    # Some end a little later on a busy machine.
    assert all(after <= before + 10 for before, after in zip(few, many, strict=True)), (few, many)


def test_a_circuit_breaker_is_shared_by_loops(daemon):
    """A loop that ended while it probed leaves no circuit open for ever."""
    breaker = CircuitBreaker(IntegrationSettings(target="127.0.0.1:1", timeout=0.05))

    async def fail():
        for _ in range(3):
            assert (await breaker.ask([Item("a")])).failed
        assert breaker.open
        assert await breaker.ask([Item("a")]) is None

    asyncio.run(fail())
    assert not breaker.open
    asyncio.run(fail_once(breaker))
    asyncio.run(breaker.close())
    shared = CircuitBreaker(IntegrationSettings(target=daemon.target, timeout=30))
    for _ in range(2):
        assert not asyncio.run(shared.ask([Item("a")])).failed
    asyncio.run(shared.close())
    assert not asyncio.run(shared.ask([Item("a")])).failed, "a later question opens a new connection"


async def fail_once(breaker):
    """One failure more, and the circuit is open again."""
    assert (await breaker.ask([Item("a")])).failed
    assert breaker.open
