"""`rankd proxy` while the daemon is absent, frozen, killed or back, or its own code fails: requests are served."""

import asyncio
import json
import signal
import time

from support.fake_engine import post, run, within
from support.ports import nobody

SHORT, LONG = "a short answer", "a long long long answer"


BODY = json.dumps({"prompt": SHORT, "stream": True}).encode()


def test_without_a_daemon_the_priority_is_the_arrival_and_soon_costs_nothing(start_engine, start_proxy):
    """From the first request on there is one, and it rises; after three failures nobody asks."""
    upstream = start_engine()
    proxy = start_proxy(upstream, nobody(), asking={"timeout": 0.05})

    async def story():
        for _ in range(20):
            assert (await post(proxy.port, BODY))[0] == 200

    run(story())
    keys = [seen.priority for seen in upstream.seen]
    assert keys == sorted(keys)
    assert abs(keys[-1] - time.time() * 1000) < 60_000
    assert proxy.counts()["circuit_open"] == 17


def test_a_prompt_over_the_daemons_limits_stops_nobodys_ranking(start_engine, start_proxy, start_daemon):
    """Such requests go in arrival order; the circuit stays closed for all others."""
    upstream = start_engine()
    proxy = start_proxy(upstream, start_daemon(limits={"max_prompt_bytes": 1000}).target)

    async def story():
        for text in ("x" * 2000, "x" * 2000, "x" * 2000, "x" * 2000, SHORT):
            await post(proxy.port, {"prompt": text})

    run(story())
    assert proxy.counts() == {"error:INVALID_ARGUMENT": 4, "ranked": 1}


async def ranked_again(proxy, upstream):
    """Wait until a short prompt that came later goes before a long one."""
    async with asyncio.timeout(60):
        while True:
            for prompt in (LONG, SHORT):
                assert (await post(proxy.port, {"prompt": prompt, "max_tokens": 500}))[0] == 200
            if upstream.seen[-1].priority < upstream.seen[-2].priority:
                return
            await asyncio.sleep(0.05)


def test_a_daemon_that_is_frozen_killed_and_back_costs_no_request(start_engine, start_proxy_process, start_process):
    """Every request is served within its deadline, by arrival; ranked again within 10 s without touching the proxy."""
    daemon = start_process()
    upstream = start_engine()
    proxy = start_proxy_process(upstream, "--timeout", "0.5", target=daemon.target)

    async def served():
        answers = await asyncio.gather(*(post(proxy.port, BODY) for _ in range(30)))
        assert {status for status, _, _ in answers} == {200}

    async def story():
        await ranked_again(proxy, upstream)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            await served()
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        await ranked_again(proxy, upstream)
        daemon.kill()
        await served()
        await asyncio.to_thread(start_process, port=daemon.port)
        await ranked_again(proxy, upstream)

    run(story())
    within(lambda: any("does not answer" in line and daemon.target in line for line in proxy.lines), "the warning")


def test_a_fault_of_the_proxys_ranking_costs_no_request(start_engine, start_proxy, monkeypatch):
    """Whatever raises in it, the request is served, by its arrival."""
    monkeypatch.setattr("rankd.proxy.ranking.read_request", lambda *_: 1 / 0)
    upstream = start_engine()
    proxy = start_proxy(upstream)
    assert run(post(proxy.port, BODY))[0] == 200
    assert upstream.seen[0].priority > 1e12
    assert proxy.counts() == {"error:ZeroDivisionError": 1}
