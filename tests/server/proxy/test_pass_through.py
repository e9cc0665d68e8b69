"""What `rankd proxy` has no part in passes as it is, in both directions, byte by byte."""

import asyncio
import gzip
import time

import pytest
from support.fake_engine import HEAD, Client, post, run, whole, within

SHORT, LONG = "a short answer", "a long long long answer"


def test_what_is_for_no_path_is_refused(start_engine, start_proxy):
    """`OPTIONS *` behind the engine's address would name another host."""
    proxy = start_proxy(start_engine())
    status, _, _ = run(post(proxy.port, b"", b"*", method=b"OPTIONS"))
    assert status == 501


def test_an_answer_without_its_body_says_no_length(start_engine, start_proxy):
    """304 may say the length of what it does not bring: it is passed on whole, and the connection stays."""

    async def unchanged(_seen, _reader, writer):
        writer.write(b'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: "a"\r\n\r\n')

    proxy = start_proxy(start_engine(unchanged))

    async def story():
        async with Client(proxy.port) as client:
            for _ in range(2):
                await client.send(path=b"/x", method=b"GET")
                assert b'etag: "a"' in await client.reader.readuntil(b"\r\n\r\n")

    run(story())
    within(lambda: proxy.counts("answers") == {"3xx": 2})


PLACES = [b"/v1/models", b"/health?full=1&x=%20+", b"/a//b/../c;d=1?e=%2F&f", b"/%C3%BC%2Fx", b"/v1/embeddings"]


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"HEAD", b"PATCH"])
def test_everything_else_passes_as_it_is(start_engine, start_proxy, method):
    """Methods, raw paths, queries, bodies, header fields in their order, and what comes back, compressed or not."""
    packed = gzip.compress(b"x" * 1000)
    head = b"HTTP/1.1 207 Multi-Status\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-A: \xff\r\n"

    async def answer(_seen, _reader, writer):
        body = b"" if method == b"HEAD" else packed
        writer.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(packed), body))

    upstream = start_engine(answer)
    proxy = start_proxy(upstream)
    sent = b"\x00\xff\r\n" if method == b"POST" else b""
    fields = [(b"Authorization", b"Bearer k"), (b"X-Two", b"1"), (b"Cookie", b"a=b"), (b"X-Two", "é".encode()),
              (b"Content-Type", b"application/octet-stream"), (b"Accept-Encoding", b"br")]  # fmt: skip

    async def story(client, path):
        await client.send(sent, path, method, fields=fields)
        status, back, body = await client.answer(method)
        assert status == 207
        assert body == (b"" if method == b"HEAD" else packed)
        assert back.split(b"\r\n")[1:-2] == [
            b"content-encoding: gzip", b"set-cookie: a=1", b"set-cookie: b=2", b"x-a: \xff",
            b"content-length: %d" % len(packed),
        ]  # fmt: skip
        seen = upstream.seen[-1]
        assert seen.line == method + b" " + path + b" HTTP/1.1"
        assert [f for f in seen.fields if f[0] in {k.lower() for k, _ in fields}] == [(k.lower(), v) for k, v in fields]
        assert seen.body == sent
        assert not seen.values(b"user-agent")
        assert not seen.values(b"accept")

    async def all_places():
        async with Client(proxy.port) as client:  # one connection for all
            for path in PLACES:
                await story(client, path)

    run(all_places())
    assert proxy.counts() == {}


def test_errors_of_the_engine_pass(start_engine, start_proxy):
    """Status, header and body; nothing is reported of a request that was not served."""
    body = b'{"error": {"message": "no", "usage": {"completion_tokens": 4}}}'
    upstream = start_engine()
    proxy = start_proxy(upstream)
    for status in (400, 401, 404, 413, 422, 429, 500, 503):
        head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nRetry-After: 7\r\n" % status
        upstream.answer = whole(body, head)
        got, back, answer = run(post(proxy.port, {"prompt": SHORT}))
        assert (got, answer) == (status, body)
        assert b"retry-after: 7" in back
    time.sleep(0.4)
    assert proxy.counts("reports") == {}


def test_redirects_and_other_answers_without_bodies_pass(start_engine, start_proxy):
    """A redirect is the client's to follow; 204 has no body and no length."""
    upstream = start_engine()
    proxy = start_proxy(upstream)
    for head, status in ((b"HTTP/1.1 307 x\r\nLocation: http://elsewhere/\r\n", 307), (b"HTTP/1.1 204 x\r\n", 204)):

        async def answer(_seen, _reader, writer, head=head, status=status):
            writer.write(head + (b"" if status == 204 else b"Content-Length: 0\r\n") + b"\r\n")

        upstream.answer = answer
        got, back, body = run(post(proxy.port, {"prompt": SHORT}))
        assert (got, body) == (status, b"")
        assert (b"location: http://elsewhere/" in back) is (status == 307)


def test_websockets_and_tunnels_are_refused(start_engine, start_proxy):
    """With 501 and where to go, and the engine sees nothing of them."""
    upstream = start_engine()
    proxy = start_proxy(upstream)

    async def story():
        async with Client(proxy.port) as client:
            fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"x" * 24)]
            await client.send(path=b"/v1/realtime", method=b"GET", fields=fields)
            assert (await client.answer())[0] == 501

    run(story())
    assert upstream.seen == []


def test_a_client_that_asks_whether_to_go_on_is_told_so(start_engine, start_proxy):
    """100-continue: the body is asked for, and the engine does not get the question again."""
    upstream = start_engine()
    proxy = start_proxy(upstream)

    async def story():
        async with Client(proxy.port) as client:
            head = (
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
            )
            client.writer.write(head + b"Expect: 100-continue\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            client.writer.write(b'{"prompt": "x"}')
            assert (await client.answer())[0] == 200

    run(story())
    assert upstream.seen[0].values(b"expect") == []


PLACES_AT_THE_ENGINE = [
    (b"http://%s/v1/models/", b"/v1/models/"),
    (b"HTTP://%s/a?b=c#d", b"/a?b=c#d"),
    (b"//%s/a", b"/a"),
    (b"http://%s", b"/"),
    (b"http://%s//elsewhere/x", b"/.//elsewhere/x"),
    (b"/a", b"/a"),
    (b"next", b"next"),
    (b"http://elsewhere/%s", None),
    (b"http://%s.elsewhere/", None),
    (b"http://elsewhere@%s/a", b"/a"),
    (b"http://[::1/%s", None),
    (b"ftp://%s/a", None),
    (b"\xff", None),
]


@pytest.mark.parametrize("name", [b"Location", b"content-LOCATION"])
@pytest.mark.parametrize(("place", "expected"), PLACES_AT_THE_ENGINE)
def test_a_redirect_does_not_name_the_engine(start_engine, start_proxy, name, place, expected):
    """Its address is known inside only: a place there is the same path at the proxy. Other places are as they were."""
    upstream = start_engine()
    proxy = start_proxy(upstream)
    place = place.replace(b"%s", b"127.0.0.1:%d" % upstream.port)
    upstream.answer = whole(b"{}", b"HTTP/1.1 307 x\r\n%s: %s\r\n" % (name, place))
    _, back, _ = run(post(proxy.port, {"prompt": SHORT}))
    assert name.lower() + b": " + (place if expected is None else expected) in back.split(b"\r\n")


def test_a_redirect_within_an_upstream_with_a_path_is_one_here(start_engine, start_proxy):
    """The path of the upstream goes before those of requests: it goes off those of answers."""
    upstream = start_engine()
    proxy = start_proxy(upstream.url + "/base", direction="lower-first")
    for there, here in ((b"/base/a", b"/a"), (b"/base", b"/"), (b"/basement", b"/basement")):
        place = b"http://127.0.0.1:%d" % upstream.port + there
        upstream.answer = whole(b"{}", b"HTTP/1.1 308 x\r\nLocation: %s\r\n" % place)
        _, back, _ = run(post(proxy.port, {"prompt": SHORT}))
        assert b"location: " + here in back.split(b"\r\n")


def test_what_is_there_goes_out_at_once(start_engine, start_proxy):
    """A head with what there is of its body, and an end with the mark of it: one packet each."""
    event = b"data: {}\n\n"
    chunk = b"%x\r\n%s\r\n" % (len(event), event)

    async def answer(_seen, _reader, writer):
        writer.write(HEAD + chunk)
        await go_on.wait()
        writer.write(chunk + b"0\r\n\r\n")

    engine = start_engine(answer)
    go_on = asyncio.Event()
    proxy = start_proxy(engine)

    async def story():
        async with Client(proxy.port) as client:
            await client.send(b"{}")
            began = await client.reader.read(2**16)
            engine.loop.call_soon_threadsafe(go_on.set)
            return began, await client.reader.read(2**16)

    began, ended = run(story())
    assert (began.endswith(b"\r\n\r\n" + chunk), ended) == (True, chunk + b"0\r\n\r\n")


def test_answers_to_pipelined_requests_come_in_order(start_engine, start_proxy):
    """Each behind its own head."""

    async def answer(seen, _reader, writer):
        body = seen.line.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    proxy = start_proxy(start_engine(answer))
    paths = [b"/%d" % n * (n + 1) for n in range(5)]

    async def story():
        async with Client(proxy.port) as client:
            client.writer.write(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths))
            return [(await client.answer(b"GET"))[2] for _ in paths]

    assert run(story()) == paths
