"""What one client sends reaches the engine as that client's requests, or not at all: two readers of one body agree."""

import asyncio
import contextlib

import pytest
from support.fake_engine import Client, run, whole, within

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n"

ODD = {
    "length and chunks": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a list of lengths": HEAD + b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a length with a sign": HEAD + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length in hexadecimal": HEAD + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "a length beyond 64 bits": HEAD + b"Content-Length: %d\r\n\r\n" % 2**64 + SMUGGLED,
    "a space before the colon": HEAD + b"Content-Length : %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a space before the colon of chunked": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a folded length": HEAD + b"Content-Length:\r\n 0\r\n\r\n" + SMUGGLED,
    "a folded field with a length": HEAD + b"X-A: b\r\n Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked, identity": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "chunked behind a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a lone CR in a field": HEAD + b"X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a lone LF": HEAD + b"X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a NUL": HEAD + b"X-A: b\0c\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a chunk's size with a sign": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "a chunk's size in 0x": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
    "a chunk's size that wraps": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1" + b"0" * 16 + b"\r\n\r\n" + SMUGGLED,
    "a chunk longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + SMUGGLED,
    "chunks in lone LF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + SMUGGLED,
    "a lone CR behind a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\r\n\r\n" + SMUGGLED,
    "HTTP/1.0 in chunks": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space in the target": b"GET /x /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "a line's end in the target": b"GET /x%0d%0aGET%20/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "an upgrade": b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + SMUGGLED,
    "an upgrade with a body": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a body of a GET": b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a body of a HEAD": b"HEAD /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a length that Connection names": HEAD + b"Connection: content-length\r\nContent-Length: 4\r\n\r\nabcd" + SMUGGLED,
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 99\r\nHost: y\r\n\r\n" + SMUGGLED,
    "a priority of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
}
"""A request each, with another behind it or within it."""


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_the_engine_reads_what_the_proxy_read(start_engine, start_proxy, sent):
    """What reaches the engine are as many requests as the proxy counted, and whole; other clients are served."""
    upstream = start_engine(whole(b"{}"))
    proxy = start_proxy(upstream)

    async def story():
        async with Client(proxy.port) as client:
            client.writer.write(sent)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.reader.read()
        async with Client(proxy.port) as client:
            await client.send(path=b"/next", method=b"GET")
            status, _, body = await client.answer()
            assert (status, body) == (200, b"{}")

    run(story())
    within(lambda: proxy.server.proxy.in_flight == 0)
    lines = [seen.line for seen in upstream.seen]
    assert lines[-1] == b"GET /next HTTP/1.1"
    # Of a body in chunks that turns out to be none the engine may have got a beginning, which was then cut.
    assert sum(not seen.whole for seen in upstream.seen) <= (b"chunked" in sent)
    assert sum(proxy.counts("answers").get(name, 0) for name in ("2xx", "cancelled")) >= len(lines)
    for seen in upstream.seen:
        assert len(seen.values(b"content-length")) + len(seen.values(b"transfer-encoding")) <= 1
        assert len(seen.values(b"host")) == 1
        assert b"smuggled" not in seen.line or seen.values(b"via")


def test_pipelined_requests_are_answered_in_their_order(start_engine, start_proxy):
    """However they come, and whichever of them the engine would be done with first."""

    async def answer(seen, _reader, writer):
        if seen.line.endswith(b"/0 HTTP/1.1"):
            await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.line) + seen.line)

    proxy = start_proxy(start_engine(answer))
    wanted = [b"POST /%d HTTP/1.1" % at for at in range(20)]

    async def story():
        async with Client(proxy.port) as client:
            sent = b"".join(
                line + b"\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" if at % 2 else
                line + b"\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED % (3, b"abc")
                for at, line in enumerate(wanted)
            )  # fmt: skip
            client.writer.write(sent)
            assert [(await client.answer())[2] for _ in wanted] == wanted

    run(story())


def test_an_offer_of_another_protocol_is_not_taken(start_engine, start_proxy):
    """As curl --http2 makes one: the request is served, with its body, and the connection goes on."""
    upstream = start_engine(whole(b"{}"))
    proxy = start_proxy(upstream)
    offer = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AAMAAABk")]

    async def story():
        async with Client(proxy.port) as client:
            for at in range(3):
                await client.send(b'{"prompt": "short"}', fields=[*offer, (b"X-At", b"%d" % at)])
                assert (await client.answer())[0] == 200
            await client.send(path=b"/x", method=b"GET", fields=offer)
            await client.send(b"x" * 400_000, b"/y", fields=offer, chunked=1000)
            assert [(await client.answer())[0] for _ in range(2)] == [200, 200]

    run(story())
    assert [len(seen.body) > 10 for seen in upstream.seen] == [True, True, True, False, True]
    assert [seen.values(b"x-at") for seen in upstream.seen[:3]] == [[b"0"], [b"1"], [b"2"]]
    assert not any(seen.values(b"upgrade") + seen.values(b"connection") for seen in upstream.seen)
    assert proxy.counts() == {"ranked": 3}
