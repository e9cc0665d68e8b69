"""`rankd proxy` holds requests up as long as they would wait anyway, and moves those whose scores come late."""

import asyncio
import json

import pytest
from rankd_client import Placed, RankClient
from rankd_client.integration import Begun
from support.fake_engine import post, run, whole, within
from support.gate import Gate

SHORT, LONG = "a short answer", "a long long long answer"
ANSWER = json.dumps({"choices": [{"text": "x", "finish_reason": "stop"}], "usage": {"completion_tokens": 5}}).encode()


@pytest.fixture
def gated(start_daemon):
    """A daemon whose model reads nothing until it is let."""
    daemon = start_daemon(guard={"max_latency": 600.0})
    gate = Gate(daemon)
    gate.open.clear()
    yield daemon, gate
    gate.open.set()


def knows(proxy, seconds):
    """The proxy has learned that requests wait so long, whoever is beside them."""
    for beside in (*range(1, 4), 16, 64):
        for _ in range(8):
            proxy.server.proxy._shared.ranking.load.wait.learn(beside, seconds, Begun.ENGINE)


def test_where_requests_wait_they_are_held_up_until_they_are_scored(gated, start_engine, start_proxy):
    """The model is held; ten come; let go, all of them are ranked but for the first at most."""
    daemon, gate = gated
    upstream = start_engine(whole(ANSWER))
    proxy = start_proxy(upstream, daemon.target, asking={"timeout": None, "hold_most": 60.0})
    knows(proxy, 600.0)

    async def story():
        posts = [asyncio.create_task(post(proxy.port, {"prompt": f"{SHORT} {at}"})) for at in range(10)]
        load = proxy.server.proxy._shared.ranking.load
        await asyncio.to_thread(within, lambda: load.in_flight >= 9)
        gate.open.set()
        assert {status for status, *_ in await asyncio.gather(*posts)} == {200}

    run(story())
    assert proxy.counts()["ranked"] >= 9


@pytest.mark.parametrize(
    ("asking", "wait"), [({"timeout": None}, 0.0), ({"timeout": 0.05}, 600.0)], ids=["nobody waits", "a fixed timeout"]
)
def test_where_nobody_waits_or_a_timeout_is_set_they_go_on(gated, start_engine, start_proxy, wait_until, asking, wait):
    """The model is held for all that time: requests are answered without it, and the daemon is told how many."""
    daemon, _ = gated
    proxy = start_proxy(start_engine(whole(ANSWER)), daemon.target, asking=asking)
    knows(proxy, wait)

    async def story():
        for at in range(2):  # a third failure would end the asking
            await post(proxy.port, {"prompt": f"{SHORT} {at}"})

    run(story())
    assert "ranked" not in proxy.counts()
    with RankClient(daemon.target) as client:
        wait_until(lambda: client.quality(timeout=60).service.recently_placed == Placed(too_late=2))


def test_a_score_that_comes_late_moves_a_request_in_the_proxys_line(gated, start_engine, start_proxy):
    """One place in the engine: what waits for it in arrival order is let in by its scores once they are there."""
    daemon, gate = gated
    free = asyncio.Event()

    async def answer(seen, reader, writer):
        await free.wait()
        await whole(ANSWER)(seen, reader, writer)

    upstream = start_engine(answer)
    proxy = start_proxy(upstream, daemon.target, engine_places=1, asking={"timeout": 0.05})
    waiting = proxy.server.proxy._shared.holding

    async def story():
        posts = []
        for at, prompt in enumerate((LONG, LONG + " 2", SHORT)):
            posts.append(asyncio.create_task(post(proxy.port, {"prompt": prompt})))
            await asyncio.to_thread(within, lambda at=at: (len(upstream.seen), waiting.waiting) == (1, at))
        gate.open.set()
        await asyncio.to_thread(within, lambda: proxy.counts("late_scores").get("scored", 0) >= 2)
        upstream.loop.call_soon_threadsafe(free.set)
        assert {status for status, *_ in await asyncio.gather(*posts)} == {200}

    run(story())
    assert [json.loads(seen.body)["prompt"] for seen in upstream.seen] == [LONG, SHORT, LONG + " 2"]
    assert waiting.waiting == 0
    within(lambda: proxy.counts("reports").get("accepted", 0) >= 2, "the answers of what was scored late are reported")


def test_a_client_that_hangs_up_in_the_line_is_gone_from_it(start_engine, start_proxy):
    """Whoever waits behind it is let in in its place."""
    free = asyncio.Event()

    async def answer(seen, reader, writer):
        await free.wait()
        await whole(ANSWER)(seen, reader, writer)

    upstream = start_engine(answer)
    proxy = start_proxy(upstream, engine_places=1)
    waiting = proxy.server.proxy._shared.holding

    async def story():
        first = asyncio.create_task(post(proxy.port, {"prompt": LONG}))
        await asyncio.to_thread(within, lambda: len(upstream.seen) == 1)
        second = asyncio.create_task(post(proxy.port, {"prompt": SHORT}))
        await asyncio.to_thread(within, lambda: waiting.waiting == 1)
        second.cancel()
        await asyncio.to_thread(within, lambda: waiting.waiting == 0)
        third = asyncio.create_task(post(proxy.port, {"prompt": SHORT}))
        await asyncio.to_thread(within, lambda: waiting.waiting == 1)
        upstream.loop.call_soon_threadsafe(free.set)
        assert [(await task)[0] for task in (first, third)] == [200, 200]

    run(story())
    assert len(upstream.seen) == 2
    within(lambda: proxy.counts("answers") == {"2xx": 2, "cancelled": 1})
