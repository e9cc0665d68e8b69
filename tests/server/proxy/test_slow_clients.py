"""`rankd proxy` and clients that are silent, slow, too many or gone: others are served, and only those are cut off."""

import asyncio
import contextlib
import json

import psutil
import pytest
from support.fake_engine import EVENTS, HEAD, Client, post, run, streamed, whole, within

BODY = json.dumps({"prompt": "a short answer", "stream": True}).encode()
START = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SHORT = {
    "client_head_timeout": 1.0, "client_body_timeout": 1.0, "client_body_rate": 1e6, "client_read_timeout": 1.0,
    "client_idle": 60,
}  # fmt: skip


async def get(port, path=b"/livez", **options):
    return (await post(port, b"", path, method=b"GET", **options))[0]


@contextlib.asynccontextmanager
async def many(port, count, said=b""):
    """So many connections on which nothing more comes."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(port)) for _ in range(count)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.writer.write(said)
        yield clients


SILENT = [
    b"",
    b"GET /livez HT",
    START + b"Content-Length: 10\r\n",
    b"\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("said", SILENT)
def test_silent_connections_keep_no_probe_out(start_engine, start_proxy, said):
    """Twice as many as there are places: those that wait longest go."""
    proxy = start_proxy(start_engine())

    async def story():
        async with many(proxy.metrics_port, 140, said):
            for _ in range(10):
                assert await get(proxy.metrics_port) == 200
                assert await get(proxy.metrics_port, b"/metrics") == 200

    run(story())


def test_readers_of_metrics_that_do_not_read_keep_no_probe_out(start_engine, start_proxy):
    """Their answers fill what there is for them, and they go."""
    proxy = start_proxy(start_engine())
    asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100

    async def story():
        async with many(proxy.metrics_port, 80, asked) as clients:
            for client in clients:
                client.writer.transport.pause_reading()
            for _ in range(5):
                assert await get(proxy.metrics_port) == 200

    run(story())


@pytest.mark.parametrize("said", SILENT[:3])
def test_silent_connections_keep_no_request_out(start_engine, start_proxy, said):
    """Nor do they cost one that is under way its place."""
    upstream = start_engine(streamed(EVENTS, pause=0.2))
    proxy = start_proxy(upstream, max_connections=20)

    async def story():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            await client.reader.readuntil(b"\r\n\r\n")
            async with many(proxy.port, 60, said):
                for _ in range(5):
                    assert (await post(proxy.port, BODY))[0] == 200
            assert b"".join([chunk async for chunk in client.chunks()]) == b"".join(EVENTS)

    run(story())


def test_beyond_the_places_there_is_an_answer(start_engine, start_proxy):
    """503 and when to come again; and places are free again when requests end."""
    upstream = start_engine(streamed(EVENTS, pause=0.3))
    proxy = start_proxy(upstream, max_connections=4)

    async def story():
        running = [asyncio.create_task(post(proxy.port, BODY)) for _ in range(4)]
        await asyncio.to_thread(within, lambda: len(upstream.seen) == 4)
        status, head, body = await post(proxy.port, BODY)
        assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
        assert b"retry-after: 1" in head
        assert [answer[0] for answer in await asyncio.gather(*running)] == [200] * 4
        assert (await post(proxy.port, BODY))[0] == 200

    run(story())
    within(lambda: proxy.counts("answers") == {"2xx": 5, "overloaded": 1})


async def trickle(client, pieces, pause=0.1):
    """Send piece by piece, until the other side hangs up; then what it said."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            if client.reader._eof:
                break
            client.writer.write(piece)
            await client.writer.drain()
            await asyncio.sleep(pause)
    with contextlib.suppress(ConnectionError):
        return await client.reader.read()
    return b""


SLOW = {
    "says nothing": ([], b""),
    "half a head": ([START], b"HTTP/1.1 408 "),
    "a head byte by byte": ([START, *[b"a"] * 600], b"HTTP/1.1 408 "),
    "field by field": ([START, *[b"X-A: b\r\n"] * 600], b"HTTP/1.1 408 "),
    "empty lines only": ([b"\r\n"] * 600, b"HTTP/1.1 408 "),
    "half a body": ([START + b"Content-Length: 100\r\n\r\n{"], b"HTTP/1.1 408 "),
    "a body byte by byte": ([START + b"Content-Length: 9999\r\n\r\n", *[b" "] * 600], b"HTTP/1.1 408 "),
    "a chunk by and by": ([START + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 600], b"HTTP/1.1 408 "),
    "half a size of a chunk": ([START + b"Transfer-Encoding: chunked\r\n\r\n1"], b"HTTP/1.1 408 "),
    "a body that is not ranked": ([b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"], b"HTTP/1.1 408 "),
    "half a head behind a request": ([b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", START], b"HTTP/1.1 200 "),
}


def test_who_is_slow_is_told_and_ends(start_engine, start_proxy):
    """However it is done, and whatever comes of it: an answer where there is a request, and the connection ends."""
    upstream = start_engine(whole(b"{}"))
    proxy = start_proxy(upstream, **SHORT)

    async def one(pieces, expected):
        async with Client(proxy.port) as client:
            said = await trickle(client, pieces)
            assert (pieces[:1], said[: len(expected)]) == (pieces[:1], expected)

    async def story():
        await asyncio.gather(*(one(*how) for how in SLOW.values()))

    run(story())
    within(lambda: proxy.server.proxy.in_flight == 0)


def test_an_answer_that_is_taken_lasts_as_long_as_it_likes(start_engine, start_proxy):
    """Several times each of the times that a client may be slow; before its first byte, too."""

    async def answer(_seen, _reader, writer):
        await asyncio.sleep(2.5)
        await streamed(EVENTS * 3, pause=0.2)(_seen, _reader, writer)

    proxy = start_proxy(start_engine(answer), **SHORT)
    status, _, body = run(post(proxy.port, BODY))
    assert (status, body) == (200, b"".join(EVENTS * 3))


def test_a_client_that_does_not_read_is_cut_off(start_engine, start_proxy):
    """And its place in the engine is free."""

    async def flood(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()

    upstream = start_engine(flood)
    proxy = start_proxy(upstream, **SHORT)

    async def story():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            client.writer.transport.pause_reading()
            await asyncio.to_thread(within, lambda: upstream.seen)
            assert await asyncio.to_thread(upstream.seen[0].gone.wait, 60)

    run(story())
    within(lambda: proxy.counts("answers") == {"cancelled": 1})


def test_a_client_that_leaves_within_an_unread_upload_is_noticed(start_engine, start_proxy):
    """The engine does not read, so the proxy does not, and what says that the client left is behind unread bytes."""

    async def deaf(_seen, _reader, _writer):
        await asyncio.sleep(20)

    upstream = start_engine(deaf, read=False)
    proxy = start_proxy(upstream, asking={"max_body_bytes": 10_000})

    async def story():
        async with Client(proxy.port) as client:
            client.writer.write(START + b"Content-Length: 90000000\r\n\r\n" + b'{"prompt": "')
            await asyncio.to_thread(within, lambda: upstream.seen)
            (connection,) = proxy.server._servers[0].server_state.connections
            while not connection.flow.read_paused:  # the rest is in sockets, and so is the end
                client.writer.write(b"x" * 50_000)
                await client.writer.drain()
                await asyncio.sleep(0.001)
            client.writer.transport.abort()

    run(story())
    within(lambda: proxy.counts("answers") == {"cancelled": 1})


def test_an_engine_that_does_not_read_does_not_hold_uploads_for_ever(start_engine, start_proxy):
    """504, as if it did not answer."""

    async def deaf(_seen, _reader, _writer):
        await asyncio.sleep(20)

    upstream = start_engine(deaf, read=False)
    proxy = start_proxy(upstream, upstream_read_timeout=0.5)
    status, _, body = run(post(proxy.port, b"x" * 60_000_000, b"/files"))
    assert (status, json.loads(body)["error"]["code"]) == (504, "upstream_timeout")


LONG = {
    "one line": b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "many fields": b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 12_000 + b"\r\n",
    "the target": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "without end": b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 10_000_000,
    "empty lines": b"\r\n" * 100_000,
}


@pytest.mark.parametrize("head", LONG.values(), ids=LONG)
def test_a_head_has_an_end(start_engine, start_proxy, head):
    """On both ports; and one within the bound passes."""
    upstream = start_engine(whole(b"{}"))
    proxy = start_proxy(upstream)

    async def story():
        for port in (proxy.port, proxy.metrics_port):
            async with Client(port) as client:
                with contextlib.suppress(ConnectionError):
                    client.writer.write(head)
                    await client.writer.drain()
                assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 431 ")
        assert await get(proxy.port, b"/x", fields=[(b"X-A", b"a" * 60_000)]) == 200
        async with Client(proxy.port) as client:  # a body before the next head does not count as a part of it
            await client.send(b"x" * 300_000, b"/x")
            await client.send(path=b"/x", method=b"GET")
            assert [(await client.answer())[0] for _ in range(2)] == [200, 200]

    run(story())


HOSTS = [
    ([], b"1.1", 400), ([b"a", b"b"], b"1.1", 400), ([b"a", b"a"], b"1.1", 400), ([b"a b"], b"1.1", 400),
    ([b"a/b"], b"1.1", 400), ([b"a@b"], b"1.1", 400), ([b"a,b"], b"1.1", 200), ([b"\xff"], b"1.1", 400),
    ([b""], b"1.1", 200), ([b"[::1]:80"], b"1.1", 200), ([], b"1.0", 200), ([b"a", b"b"], b"1.0", 400),
]  # fmt: skip


@pytest.mark.parametrize(("hosts", "version", "expected"), HOSTS)
def test_a_request_names_one_host(start_engine, start_proxy, hosts, version, expected):
    """RFC 9112, 3.2; on both ports."""
    proxy = start_proxy(start_engine(whole(b"{}")))
    head = b"GET /metrics HTTP/" + version + b"\r\n" + b"".join(b"Host: " + h + b"\r\n" for h in hosts) + b"\r\n"

    async def story():
        for port in (proxy.port, proxy.metrics_port):
            async with Client(port) as client:
                client.writer.write(head)
                assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 %d " % expected)

    run(story())


@pytest.mark.parametrize("name", [b"Accept", b"Accept-Encoding", b"User-Agent", b"X-A"])
@pytest.mark.parametrize(
    "value", [b"\xff", b"text/plain;q=\xb2", b"\xc3\xa4", b"application/openmetrics-text;version=\xe9"]
)
def test_bytes_beyond_ascii_are_no_error_of_ours(start_engine, start_proxy, name, value):
    """Pages are served; what passes is passed or refused, by its name."""
    proxy = start_proxy(start_engine(whole(b"{}")))

    async def story():
        for path in (b"/metrics", b"/livez", b"/none"):
            assert await get(proxy.metrics_port, path, fields=[(name, value)]) in {200, 404}
        assert await get(proxy.port, b"/x", fields=[(name, value)]) in {200, 400}

    run(story())
    assert "internal" not in proxy.counts("answers")


def test_with_few_descriptors_there_are_fewer_places_and_still_answers(start_engine, start_proxy_process):
    """64 of them, and 140 connections: probes and requests are answered, and nothing spins."""
    upstream = start_engine(streamed(EVENTS))
    proxy = start_proxy_process(upstream, prefix=["prlimit", "--nofile=64:64"])
    process = psutil.Process(proxy.process.pid)
    assert process.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)

    async def story():
        async with many(proxy.port, 70), many(proxy.metrics_port, 70):
            for _ in range(5):
                assert await get(proxy.metrics_port) == 200
                assert (await post(proxy.port, BODY))[0] == 200
            used = sum(process.cpu_times()[:2])
            await asyncio.sleep(1.5)
            assert sum(process.cpu_times()[:2]) - used < 0.75  # half of what a loop that spins takes

    run(story())


def test_silent_connections_do_not_hold_up_an_end(start_engine, start_proxy_process):
    """Silent, within a head, or kept: none of them has anything to wait for."""
    proxy = start_proxy_process(start_engine(), RANKD_PROXY_DRAIN_TIMEOUT="3600")

    async def story():
        silent = many(proxy.port, 5), many(proxy.port, 5, START), many(proxy.metrics_port, 5, START)
        async with silent[0], silent[1], silent[2], Client(proxy.port) as client:
            await client.send(BODY)
            assert (await client.answer())[0] == 200
            proxy.terminate()
            assert await asyncio.to_thread(proxy.process.wait, 30) == 0

    run(story())


def test_the_stream_stays_whole_when_a_head_follows_too_early(start_engine, start_proxy):
    """Nonsense behind a request, while its answer is under way, does not get into that answer."""
    upstream = start_engine(streamed(EVENTS, pause=0.2))
    proxy = start_proxy(upstream)

    async def story():
        async with Client(proxy.port) as client:
            await client.send(BODY)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(HEAD[:15])
            client.writer.write(b"nonsense\r\n\r\n")
            rest = b""
            with contextlib.suppress(ConnectionError):
                rest = await client.reader.read()
            assert b"HTTP/1.1" not in rest

    run(story())
