"""What requests under way take together has a bound: beyond it bodies pass unread, and then there is a 503."""

import asyncio
import contextlib
import json

from support.fake_engine import EVENTS, Client, post, run, streamed, whole, within
from support.process_memory import resident

START = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SMALL = json.dumps({"prompt": "a short answer"}).encode()
LARGE = json.dumps({"prompt": "short " * 200_000}).encode()


def test_a_body_that_there_is_no_memory_for_passes_unread(start_engine, start_proxy):
    """In arrival order, and whole: nobody's request is lost for the sake of an order."""
    upstream = start_engine(whole(b"{}"))
    proxy = start_proxy(upstream, memory_bytes=3_000_000)
    assert run(post(proxy.port, LARGE))[0] == 200
    body = json.loads(upstream.seen[0].body)
    assert body.pop("priority") > 10**12
    assert body == json.loads(LARGE)
    assert proxy.counts() == {"no_memory": 1}
    assert run(post(proxy.port, SMALL))[0] == 200
    assert proxy.counts() == {"no_memory": 1, "ranked": 1}
    within(lambda: proxy.server.budget.used == 0)


def test_beyond_the_memory_there_is_an_answer(start_engine, start_proxy):
    """503, and when to come again. Whoever has little is served on; all is free when the requests end."""
    upstream = start_engine(streamed(EVENTS))
    proxy = start_proxy(upstream, memory_bytes=2_500_000)

    async def story():
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(proxy.port)) for _ in range(20)]
            for client in clients:
                client.writer.write(START + b"Content-Length: 4000000\r\n\r\n" + b'{"prompt": "' + b"x" * 300_000)
            refused = [client for client in clients if await told(client)]
            assert 0 < len(refused) < 20
            assert (await post(proxy.port, SMALL))[0] == 200
        await asyncio.to_thread(within, lambda: proxy.server.budget.used == 0)
        assert (await post(proxy.port, LARGE))[0] == 200

    async def told(client):
        """Whether an answer came; it is the one."""
        try:
            async with asyncio.timeout(1):
                status, head, body = await client.answer()
        except TimeoutError:
            return False
        assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
        assert b"retry-after: 1" in head
        return True

    run(story())


def test_a_made_up_length_takes_nothing(start_engine, start_proxy):
    """What counts is what came."""
    proxy = start_proxy(start_engine(whole(b"{}")), memory_bytes=20_000_000)

    async def story():
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                client = await stack.enter_async_context(Client(proxy.port))
                client.writer.write(START + b"Content-Length: 4000000\r\n\r\n{")
            await asyncio.to_thread(within, lambda: proxy.server.proxy.in_flight == 20)
            assert proxy.server.budget.used < 20 * 400_000
            assert (await post(proxy.port, LARGE))[0] == 200

    run(story())


def test_an_answer_that_there_is_no_memory_to_read_passes(start_engine, start_proxy):
    """It is not counted, and it is whole."""
    body = json.dumps({"text": "x" * 3_000_000, "usage": {"completion_tokens": 3}}).encode()
    proxy = start_proxy(start_engine(whole(body)), memory_bytes=2_500_000)
    status, _, answer = run(post(proxy.port, SMALL))
    assert (status, answer) == (200, body)
    within(lambda: proxy.counts("reports") == {"no_usage": 1})


def test_stalled_uploads_do_not_end_a_proxy_with_little_memory(start_engine, start_proxy_process):
    """150 of 4 MB each, where half of them would be more than there is; and a request beside them is served."""
    upstream = start_engine(streamed(EVENTS))
    proxy = start_proxy_process(upstream, RANKD_PROXY_MEMORY_BYTES="100000000")
    before = resident(proxy.process.pid)

    async def story():
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(150):
                client = await stack.enter_async_context(Client(proxy.port))
                client.writer.write(START + b"Content-Length: 4190000\r\n\r\n" + b'{"prompt":"' + b"x" * 4_000_000)
            for _ in range(10):
                assert (await post(proxy.port, SMALL))[0] == 200
            await asyncio.sleep(1)
            assert resident(proxy.process.pid) - before < 150_000_000
            for _ in range(10):
                assert (await post(proxy.port, SMALL))[0] == 200

    run(story())
    assert proxy.process.poll() is None
