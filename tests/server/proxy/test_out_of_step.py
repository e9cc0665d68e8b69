"""`rankd proxy` and engines that send too much, too early, too late or in odd frames: everybody gets his own answer."""

import asyncio
import json

import aiohttp
import pytest
from support.engine_faults import EXTRA, FAULTS, FaultyEngine, own, whole
from support.fake_engine import Client, post, run, streamed

from rankd.proxy.engine_connection import EngineConnector

TRIED = [
    "none", "second answer at once", "second answer with the body", "second answer with the last chunk",
    "second answer 0.001 s late", "second answer 0.08 s late", "half a second answer, then the rest",
    "a byte of a second answer", "surplus at once", "surplus later", "100 late", "408 late and hung up",
    "100, then a second answer", "101", "204, then an answer", "204 with a body", "304 with a body", "two lengths",
    "a negative length", "length and chunks", "a chunk longer than it says", "chunks without the last line",
    "a folded field", "lines in lone LF", "HTTP/1.0 kept", "close, and goes on", "closed a little later",
]  # fmt: skip
"""All others are tried by `attacks.answers_out_of_step`."""


def through(start_proxy, story, fault, **options):
    """Run a story with a faulty engine and a proxy before it."""

    async def told():
        async with FaultyEngine(fault, **options) as engine:
            proxy = await asyncio.to_thread(start_proxy, engine.url, "127.0.0.1:1", direction="lower-first")
            return await story(proxy, engine)

    return run(told())


async def named(port, name, **options):
    """Status of an answer, and whose it is."""
    status, _, body = await post(port, {"prompt": name}, **options)
    return status, json.loads(body).get("name")


@pytest.mark.parametrize("fault", TRIED)
def test_a_fault_is_nobody_elses(start_proxy, fault):
    """Who comes behind a faulty answer, at once or a little later, gets the answer to his own request."""

    async def story(proxy, _engine):
        async with Client(proxy.port) as client:
            await client.send(json.dumps({"prompt": "bad"}).encode())
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 2", b"HTTP/1.1 304", b"HTTP/1.1 502"))
        for name in ("one", "two"):
            assert await named(proxy.port, name) == (200, name)
        names = [f"together {at}" for at in range(4)]
        assert await asyncio.gather(*(named(proxy.port, name) for name in names)) == [(200, name) for name in names]
        await asyncio.sleep(0.11)
        assert await named(proxy.port, "later") == (200, "later")

    through(start_proxy, story, FAULTS[fault])


@pytest.mark.parametrize("fault", ["surplus at once", "second answer at once", "surplus with the body", "none"])
def test_what_is_wrong_behind_an_answer_does_not_cost_it(start_proxy, fault):
    """The answer was whole before the surplus came."""

    async def story(proxy, _engine):
        assert await named(proxy.port, "bad") == (200, "bad")

    through(start_proxy, story, FAULTS[fault])


def test_an_engine_in_step_is_asked_over_the_same_connection(start_proxy):
    """Once it has rested. What is late for that is found in the socket, or comes to a connection that rests."""

    async def story(proxy, engine):
        for at in range(4):
            assert await named(proxy.port, f"{at}") == (200, f"{at}")
        assert engine.connections == 1

    async def told():
        async with FaultyEngine(FAULTS["none"]) as engine:
            options = {"direction": "lower-first", "upstream_rest": 0.0}
            proxy = await asyncio.to_thread(start_proxy, engine.url, "127.0.0.1:1", **options)
            await story(proxy, engine)

    run(told())


@pytest.mark.parametrize("said", [EXTRA, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_an_engine_that_speaks_first_is_not_listened_to_twice(start_proxy, said):
    """A connection on which something came before a request was sent is used for that request at most."""

    async def story(proxy, engine):
        for at in range(5):
            await post(proxy.port, {"prompt": f"{at}"})
        assert engine.connections >= 5
        assert len(engine.seen) <= 5

    through(start_proxy, story, FAULTS["none"], before=said)


@pytest.mark.parametrize("size", [10, 100_000, 8_000_000])
def test_an_answer_before_the_request_was_read_ends_the_connection(start_proxy, size):
    """Whatever of a body the engine takes for its next request, nobody else's answer comes of it."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

    async def story(proxy, engine):
        async with Client(proxy.port) as client:
            body = smuggled * (size // len(smuggled) + 1)
            await client.send(body, b"/files", fields=[(b"Content-Type", b"text/plain")])
            assert (await client.answer())[0] == 200
        engine._reads_body = True
        for at in range(3):
            assert await named(proxy.port, f"{at}") == (200, f"{at}")

    through(start_proxy, story, FAULTS["none"], reads_body=False)


@pytest.mark.parametrize("status", [b"099", b"101", b"600", b"999", b"2000", b"abc", b"20"])
def test_a_status_that_ends_no_request_is_a_bad_gateway(start_proxy, status):
    """Not a connection that breaks off."""

    async def story(proxy, _engine):
        got, _, body = await post(proxy.port, {"prompt": "bad"})
        assert (got, json.loads(body)["error"]["code"]) == (502, "upstream_broken")

    through(start_proxy, story, lambda body: [whole(body).replace(b" 200 OK", b" " + status + b" x", 1)])


@pytest.mark.parametrize("field", [b"X-A: a\x01b", b"X-A: a\x7f", b"X-A: a\rX-B: c"])
def test_a_field_that_cannot_be_passed_back_is_a_bad_gateway(start_proxy, field):
    """Control characters that aiohttp lets through, and that would end the answer within its head."""

    async def story(proxy, _engine):
        assert (await post(proxy.port, {"prompt": "bad"}))[0] in {200, 502}
        assert await named(proxy.port, "next") == (200, "next")

    through(start_proxy, story, lambda body: [whole(body).replace(b"\r\n", b"\r\n" + field + b"\r\n", 1)])


def test_a_204_with_a_length_passes(start_proxy):
    """RFC 9110, 8.6: it must not have one, and brings nothing."""

    async def story(proxy, _engine):
        async with Client(proxy.port) as client:
            for _ in range(2):
                await client.send(json.dumps({"prompt": "bad"}).encode())
                status, head, _ = await client.answer()
                assert (status, b"content-length" in head) == (204, False)

    through(start_proxy, story, lambda body: [whole(body).replace(b" 200 OK", b" 204 x", 1)[: -len(body)]])


def test_the_faulty_engine_does_what_it_says():
    """The first of the faults is none."""
    assert FAULTS["none"](own("x")) == [whole(own("x"))]


def test_one_that_has_not_rested_is_not_taken_for_one_that_is_over(start_engine):
    """A connection that was kept too long, or is out of step, makes no other one rest less."""
    engine = start_engine(streamed([b"{}"], pause=0.01))

    async def story():
        connector = EngineConnector(10, idle=2.0, rest=60.0, patience=1.0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def asked():
                async with session.get(engine.url + "/x") as answer:
                    await answer.read()

            await asyncio.gather(asked(), asked())
            (pool,) = connector._conns.values()
            (old, since), fresh = pool
            pool[0] = old, since - 61.0  # rested, and kept too long
            await asked()
            assert not old.is_connected()
            assert pool[0] == fresh
            return [protocol.is_connected() for protocol, _ in pool]

    assert run(story()) == [True, True]
