"""The client over several replicas: calls take turns, what belongs together stays together, who drains is left."""

import asyncio
import signal
import threading
import time
import uuid

import pytest
from rankd_client import AsyncRankClient, Completed, Item, RankClient
from support.fleet_calls import counted


def target_of(daemons):
    """A target of grpc's that is all of them."""
    return "ipv4:" + ",".join(d.target for d in daemons)


def calls_of(daemon):
    """Rank calls that a daemon answered."""
    return daemon.app.ranker.counts.calls


def items():
    """A queue that no daemon has seen."""
    return [Item("long", uuid.uuid4().hex), Item("short", uuid.uuid4().hex)]


def test_calls_take_turns_and_reports_stay_with_one(start_daemon, wait_until):
    """30 calls over three daemons, ten each or so; what each request turned out to be goes to one of them."""
    daemons = [start_daemon() for _ in range(3)]
    with RankClient(target_of(daemons), model="m", timeout=10, balance=True) as client:
        # A connection that is not up yet is not waited for.
        wait_until(lambda: client.rank(items()) and all(calls_of(d) for d in daemons), what="a call for each daemon")
        before = [calls_of(d) for d in daemons]
        for _ in range(30):
            queue = client.rank(items())
            client.report(Completed(r.request_id, r.prediction, 10 * r.position) for r in queue)
    assert [calls_of(d) - b for d, b in zip(daemons, before, strict=True)] == [10, 10, 10]
    assert sorted(counted(d).get(("rankd_quality_compared_total", ""), 0) for d in daemons) == [0, 0, 59]


def test_the_asynchronous_client_takes_turns_too(start_daemon):
    """The same channels, on an event loop."""
    daemons = [start_daemon() for _ in range(2)]

    async def ask():
        async with AsyncRankClient(target_of(daemons), timeout=10, balance=True) as client:
            while min(calls_of(d) for d in daemons) < 5:
                assert not (await client.rank(items())).failed

    asyncio.run(asyncio.wait_for(ask(), 60))


def test_without_balance_a_client_stays_with_one(start_daemon):
    """The first address that answers: a score cache sees the same prompts again."""
    daemons = [start_daemon() for _ in range(2)]
    with RankClient(target_of(daemons), timeout=10) as client:
        for _ in range(10):
            client.rank(items())
    assert sorted(calls_of(d) for d in daemons) == [0, 10]


@pytest.mark.parametrize("round_", range(2))
def test_a_daemon_that_drains_under_load_fails_no_call(start_daemon, wait_until, round_):
    """It says that it is not ready, answers for ``drain_delay`` what still comes, and ends: nobody notices."""
    del round_
    daemons = [start_daemon(drain_delay=0.5) for _ in range(2)]
    failed, stop, asked = [], threading.Event(), []

    def load(client):
        while not stop.is_set():
            queue = client.rank(items())
            asked.append(queue.reason)
            if queue.failed:
                failed.append(queue.reason)

    with RankClient(target_of(daemons), timeout=10, balance=True) as client:
        threads = [threading.Thread(target=load, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(calls_of(d) for d in daemons))
        daemons[0].stop()
        after = len(asked)
        wait_until(lambda: len(asked) > after + 10)
        stop.set()
        for thread in threads:
            thread.join(20)
    assert failed == []


def test_a_frozen_replica_is_left(start_process):
    """It takes connections and answers nothing: calls run into their timeout for seconds, not for a minute."""
    replicas = [start_process() for _ in range(2)]
    with RankClient(target_of(replicas), timeout=1.0, balance=True) as client:
        for _ in range(20):
            assert not client.rank(items(), timeout=30).failed
        replicas[0].process.send_signal(signal.SIGSTOP)
        end, met, whole = time.monotonic() + 45, 0, 0
        while not met or whole < 20:
            assert time.monotonic() < end, "calls still go to it"
            failed = client.rank(items()).failed
            met, whole = met + failed, 0 if failed else whole + 1
