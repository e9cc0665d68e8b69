"""`rankd proxy` when clients, engine or daemon misbehave, and under load: nobody waits, nothing grows, all is told."""

import asyncio
import contextlib
import json

import psutil
import pytest
from support.fake_engine import EVENTS, HEAD, Client, post, run, streamed, within

SHORT, LONG = "a short answer", "a long long long answer"
JSON_HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
BODY = json.dumps({"prompt": SHORT, "stream": True}).encode()


async def until(condition):
    """Wait until a condition holds, within a time."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.005)


def test_events_come_when_the_engine_sends_them(start_engine, start_proxy):
    """A stream is not gathered: each event is at the client before the engine sends the next."""
    arrived = []

    async def answer(_seen, _reader, writer):
        writer.write(HEAD)
        for at, event in enumerate(EVENTS, 1):
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await until(lambda at=at: len(arrived) == at)
        writer.write(b"0\r\n\r\n")

    upstream = start_engine(answer)
    proxy = start_proxy(upstream)

    async def story():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await client.reader.readuntil(b"\r\n\r\n")
            async for chunk in client.chunks():
                arrived.append(chunk)  # noqa: PERF401 - the engine waits for each
        assert arrived == EVENTS

    run(story())


def test_a_client_that_hangs_up_frees_its_place_in_the_engine(start_engine, start_proxy, start_daemon):
    """Within the stream, or before its first byte: the engine sees it, and the daemon is told how far it got."""
    daemon = start_daemon()
    upstream = start_engine(streamed([EVENTS[0]] * 200, pause=0.02))
    proxy = start_proxy(upstream, daemon.target)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))

    async def within_the_stream():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await client.reader.readuntil(b"\r\n\r\n")
            chunks = client.chunks()
            for _ in range(10):
                await anext(chunks)

    async def before_it():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await asyncio.to_thread(within, lambda: len(upstream.seen) == 2)

    async def silent(_seen, reader, _writer):
        if not await reader.read(1):
            raise ConnectionError

    run(within_the_stream())
    assert upstream.seen[0].gone.wait(60)
    upstream.answer = silent
    run(before_it())
    assert upstream.seen[1].gone.wait(60)
    within(lambda: proxy.counts("answers") == {"cancelled": 2})
    assert proxy.server.proxy._shared.ranking.waiting == 0
    assert [r.finish_reason for r in reports] == ["cancelled", "cancelled"]
    assert 5 <= reports[0].output_tokens < 200
    assert reports[1].output_tokens == 0
    within(lambda: proxy.counts("reports") == {"accepted": 2})


def test_a_client_that_hangs_up_at_the_end_was_served(start_engine, start_proxy, start_daemon):
    """Many do at [DONE], before the stream's last bytes: the length is known, and reported as it is."""
    daemon = start_daemon()

    async def answer(_seen, _reader, writer):
        writer.write(HEAD + b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in EVENTS))
        await asyncio.sleep(5)

    proxy = start_proxy(start_engine(answer), daemon.target)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))

    async def story():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await client.reader.readuntil(b"[DONE]")

    run(story())
    within(lambda: [(r.output_tokens, r.finish_reason) for r in reports] == [(7, "stop")])


@pytest.mark.parametrize("size", [500, 50_000_000])
def test_a_client_that_hangs_up_within_its_body_is_no_request(start_engine, start_proxy, size):
    """One that is read whole never reaches the engine; of one that passes unread the engine sees the end."""
    upstream = start_engine()
    proxy = start_proxy(upstream, asking={"max_body_bytes": 10_000})

    async def story():
        async with Client(proxy.port) as client:
            head = (
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            )
            client.writer.write(head % size + b'\r\n{"prompt": "')
            await client.writer.drain()
            if size == 500:
                await asyncio.sleep(0.1)
            else:
                await asyncio.to_thread(within, lambda: upstream.seen)

    run(story())
    within(lambda: proxy.counts("answers") == {"cancelled": 1})
    assert len(upstream.seen) == (0 if size == 500 else 1)
    assert not upstream.seen or upstream.seen[0].gone.wait(60)


def test_an_engine_that_dies_within_an_answer_cuts_it_for_the_client(start_engine, start_proxy, start_daemon):
    """Nobody may take half an answer for a whole one; what there was of it is reported as a lower bound."""
    daemon = start_daemon()

    async def answer(_seen, _reader, writer):
        writer.write(HEAD + b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in EVENTS[:1] * 5))
        await writer.drain()
        writer.transport.abort()

    proxy = start_proxy(start_engine(answer), daemon.target)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        run(post(proxy.port, BODY))
    within(lambda: proxy.counts("answers") == {"upstream_broken": 1})
    assert [r.finish_reason for r in reports] == ["aborted"]
    assert reports[0].output_tokens <= 3


def test_an_engine_that_cannot_be_had_is_an_error_that_clients_can_read(start_engine, start_proxy):
    """Not there, hanging up, talking nonsense, or silent for too long: 502 or 504, as OpenAI's errors."""

    async def hangs_up(_seen, _reader, writer):
        writer.transport.abort()

    async def nonsense(_seen, _reader, writer):
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

    async def silent(_seen, _reader, _writer):
        await asyncio.sleep(3)

    upstream = start_engine()
    proxy = start_proxy(upstream, answer_timeout=0.3)
    for answer, expected in (
        (hangs_up, (502, "upstream_broken")),
        (nonsense, (502, "upstream_broken")),
        (silent, (504, "upstream_timeout")),
        (None, (502, "upstream_unreachable")),
    ):
        upstream.answer = answer
        if answer is None:
            upstream.close()
        status, _, body = run(post(proxy.port, BODY))
        error = json.loads(body)["error"]
        assert (status, error["code"]) == expected
        assert error["message"].startswith("rankd proxy: the engine ")


def test_200_streams_at_once_are_all_whole(start_engine, start_proxy):
    """Each client gets its own events, all of them, and the engine has all requests at the same time."""
    together = []

    async def answer(seen, _reader, writer):
        together.append(seen)
        await until(lambda: len(together) == 200)
        name = json.loads(seen.body)["prompt"].encode()
        writer.write(HEAD)
        for at in range(30):
            event = b"data: %s %d\n\n" % (name, at)
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    proxy = start_proxy(start_engine(answer), asking={"timeout": 0.05})

    async def story():
        names = [f"short {at}" for at in range(200)]
        answers = await asyncio.gather(*(post(proxy.port, {"prompt": name}) for name in names))
        for name, (status, _, body) in zip(names, answers, strict=True):
            assert status == 200
            assert body == b"".join(b"data: %s %d\n\n" % (name.encode(), at) for at in range(30))

    run(story())
    within(lambda: proxy.counts("answers") == {"2xx": 200})
    assert proxy.server.proxy._shared.ranking.waiting == 0


def test_slow_readers_and_engines_hold_their_senders_up_and_no_memory(start_engine, start_proxy_process):
    """200 MB to a client that does not read, and to an engine that does not: the proxy's memory stays where it was."""
    sent = 0

    async def flood(_seen, _reader, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(200):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1_000_000

    async def deaf(_seen, _reader, _writer):
        await asyncio.sleep(30)

    slow, stuck = start_engine(flood), start_engine(deaf, read=False)
    proxies = [start_proxy_process(slow), start_proxy_process(stuck)]
    before = [psutil.Process(p.process.pid).memory_info().rss for p in proxies]

    async def story():
        async with Client(proxies[0].port) as client, Client(proxies[1].port) as other:
            await client.send(BODY)
            await client.reader.readuntil(b"\r\n\r\n")
            client.writer.transport.pause_reading()
            given = 0
            other.writer.write(JSON_HEAD % 200_000_000 + b'\r\n{"prompt": "')
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while given < 190_000_000:
                        other.writer.write(b"x" * 1_000_000)
                        await other.writer.drain()
                        given += 1_000_000
            after = [psutil.Process(p.process.pid).memory_info().rss for p in proxies]
            # What is under way is in the sockets of the system, at most.
            assert given < 30_000_000
            assert sent < 30_000_000
            assert max(a - b for a, b in zip(after, before, strict=True)) < 15_000_000

    run(story())


async def refused(port):
    """Whether nobody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.close()
    return False


def test_a_signal_ends_no_answer(start_engine, start_proxy_process):
    """SIGTERM: not ready, no new connections, and streams that are under way come to their end; then status 0."""
    told = []

    async def answer(seen, reader, writer):
        writer.write(HEAD + b"%x\r\n%s\r\n" % (len(EVENTS[0]), EVENTS[0]))
        await until(lambda: told)
        await streamed(EVENTS[1:], pause=0.1, head=b"")(seen, reader, writer)

    proxy = start_proxy_process(start_engine(answer), RANKD_PROXY_DRAIN_DELAY="0.5")

    async def story():
        assert json.loads((await post(proxy.metrics_port, b"", b"/readyz", method=b"GET"))[2])["ready"] is True
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await client.reader.readuntil(b"\r\n\r\n")
            proxy.terminate()
            status = 200
            while status == 200:
                status, _, page = await post(proxy.metrics_port, b"", b"/readyz", method=b"GET")
            assert (status, json.loads(page)["ready"]) == (503, False)
            async with asyncio.timeout(60):
                while not await refused(proxy.port):  # noqa: ASYNC110 - nobody says so
                    await asyncio.sleep(0.05)
            told.append(status)
            assert b"".join([chunk async for chunk in client.chunks()]) == b"".join(EVENTS)

    run(story())
    assert proxy.process.wait(60) == 0
