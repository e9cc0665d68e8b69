"""RankMiddleware of rankd-vllm between a client and a small ASGI application, with a real daemon behind it."""

import asyncio
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.asgi_engine import CHUNKS, Engine, Receiver, messages_of, post, run, scope_of
from support.ports import nobody
from support.vllm_middleware import middleware

SHORT, LONG = "a short answer", "a long long long answer"
SYSTEM = {"role": "system", "content": LONG * 9}
IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", lambda text: {"prompt": text}),
        ("/v1/completions", lambda text: {"prompt": [SHORT, text]}),
        ("/v1/chat/completions", lambda text: {"messages": [SYSTEM, {"role": "user", "content": text}]}),
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": [{"text": text}, IMAGE]}]}),
        ("/v1/responses", lambda text: {"input": text}),
        ("/v1/messages", lambda text: {"system": LONG, "messages": [{"role": "user", "content": [{"text": text}]}]}),
        ("/v1/responses", lambda text: {"input": [{"role": "user", "content": [{"text": text}]}]}),
    ],
)  # fmt: skip
def test_short_answers_go_first_and_bytes_pass_untouched(daemon, path, body):
    """On each endpoint a prompt that promises less gets the lower priority; request and stream are as they were."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            for text in (LONG, SHORT):
                data = json.dumps(body(text) | {"max_tokens": None, "stream": True}, indent=3).encode()
                sent = await post(app, data, path, chunk=7)
                assert engine.bodies[-1] == data
                assert [m.get("body") for m in sent[1:]] == [*CHUNKS, b""]
        assert engine.priority(1) < engine.priority(0)
        assert abs(engine.priority(0) - time.time() * 1000) < 1e6, "milliseconds, as arrival keys are"

    run(story())


def test_the_daemon_hears_how_many_requests_are_under_way(daemon):
    """Requests are asked about one by one: without this a burst would look like queues of one."""

    async def story():
        release, all_asked = asyncio.Event(), asyncio.Event()

        class Held(Engine):
            async def __call__(self, scope, receive, send):
                await super().__call__(scope, receive, send)
                await release.wait()

        told = []
        async with middleware(Held(), daemon.target) as app:
            ask = app._breaker.ask

            async def noted(items, *, backlog, **others):
                told.append(backlog)
                if len(told) == 5:
                    all_asked.set()
                return await ask(items, backlog=backlog, **others)

            app._breaker.ask = noted
            burst = [asyncio.create_task(post(app, {"prompt": SHORT})) for _ in range(5)]
            await all_asked.wait()
            release.set()
            await asyncio.gather(*burst)
            await post(app, {"prompt": SHORT})
        assert sorted(told[:5]) == [0, 1, 2, 3, 4]
        assert told[5] == 0, "who has left waits no more"

    run(story())


def test_predictions_are_remembered_by_the_ids_that_vllm_reports(daemon):
    """The client's X-Request-Id, else the body's request_id, else one made up and handed on as a header."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": [SHORT, LONG]}, headers=[(b"X-Request-Id", b"mine")])
            chat = {"messages": [{"role": "user", "content": SHORT}], "request_id": "body"}
            await post(app, chat, "/v1/chat/completions")
            await post(app, {"prompt": SHORT, "ignore_eos": True})
            await post(app, {"input": SHORT, "request_id": "resp_x"}, "/v1/responses")
            (made_up,) = engine.header(b"x-request-id", 2)
            ids = ["cmpl-mine-0", "cmpl-mine-1", "chatcmpl-body", f"cmpl-{made_up.decode()}-0", "resp_x_0"]
            entries = [app._predictions.take(i) for i in ids]
            assert all(entries)
            assert entries[0].prediction.score < entries[1].prediction.score
            assert [e.ignore_eos for e in entries] == [False, False, False, True, False]
            assert not any("mine" in e.ranked_id or "body" in e.ranked_id for e in entries), "clients' ids stay here"
            await post(app, {"prompt": SHORT, "n": 2}, headers=[(b"x-request-id", b"two")])
            assert app._predictions.take("cmpl-two-0") is None, (
                "the first of several samples to end is none of its length"
            )

    run(story())


def test_the_id_of_a_response_is_read_from_its_answer(daemon):
    """VLLM makes it up; it is found wherever the stream is cut, and the stream passes as it is."""

    async def story():
        for cut in (1, 17, 40):
            text = b'event: response.created\ndata: {"response":{"id":"resp_0123456789abcdef","created_at":1}}\n\n'
            chunks = [text[:cut], text[cut:], b"x" * 100_000]
            engine = Engine(chunks)
            async with middleware(engine, daemon.target) as app:
                sent = await post(app, {"input": SHORT}, "/v1/responses")
                assert [m["body"] for m in sent[1:-1]] == chunks
                assert app._predictions.take("resp_0123456789abcdef_0") is not None

    run(story())


@pytest.mark.parametrize("value", [b"0", b"-3", b"+7", b" 12 "])
def test_a_priority_of_the_client_wins(daemon, value):
    """In the header or in the body; with `ignore` it is overwritten."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": SHORT}, headers=[(b"X-VLLM-Priority", value)])
            assert engine.header(b"x-vllm-priority") == [value]
            await post(app, {"prompt": SHORT, "priority": int(value)})
            assert engine.header(b"x-vllm-priority") == []
        async with middleware(engine, daemon.target, client_priority="ignore") as app:
            await post(app, {"prompt": SHORT, "priority": 0}, headers=[(b"X-VLLM-Priority", value)])
            assert engine.priority() > 1e12

    run(story())


@pytest.mark.parametrize("value", [b"", b"high", b"1.5", b"1e3", b"\xff", b"9" * 30, b"9" * 5000])
def test_a_header_that_vllm_would_ignore_or_choke_on_is_none(daemon, value):
    """Ignored it would mean priority 0, before everybody; beyond 64 bits it would end vLLM's engine process."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": SHORT}, headers=[(b"x-vllm-priority", value)])
            assert engine.priority() > 1e12

    run(story())


HOSTILE = [
    b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b'{"prompt": NaN}',
    b'{"prompt": ' + b"9" * 10_000 + b"}", b'{"prompt": "\\ud800 short"}', b'{"prompt": [[1, 2], "short", null, {}]}',
    b'{"prompt": []}', b'{"prompt": {}, "max_tokens": "many", "n": [], "request_id": 5}',
    b'{"prompt": "a", "prompt": 7}',
    b'{"prompt": "short", "max_tokens": -1}', b'{"prompt": "short", "max_tokens": 1e400}', b"\x00" * 100,
    b'{"prompt": "short", "max_tokens": ' + b"9" * 40 + b"}", b'{"prompt": "' + b"x" * 2_000_000 + b'"}',
    b'{"messages": [1, {"role": "user"}]}', b'{"messages": [{"role": "user", "content": [null, {"text": 3}]}]}',
    b'{"input": {"role": "user"}}', json.dumps({"prompt": ["short"] * 5000}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_hostile_bodies_pass_untouched_with_a_priority(daemon, path):
    """Whatever is sent reaches the engine byte by byte, at a place in the queue that is not the first."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            for body in HOSTILE:
                await post(app, body, path)
                assert engine.bodies[-1] == body
                assert engine.priority() > 1e12

    run(story())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["prompt", "messages", "role", "content", "text", "input", "max_tokens", "n", "request_id"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["/v1/completions", "/v1/chat/completions", "/v1/responses"]), JSON)
def test_any_json_passes_untouched_with_a_priority(path, data):
    """No shape of JSON raises in the middleware: it costs the request at most its rank."""

    async def story():
        engine = Engine()
        async with middleware(engine, nobody(), timeout=0.01) as app:
            body = json.dumps(data).encode()
            await post(app, body, path)
            assert engine.bodies == [body]
            assert engine.priority() > 1e12

    run(story())


@pytest.mark.parametrize("claimed", [True, False])
def test_big_bodies_are_not_held_up_in_memory(daemon, claimed):
    """Over the limit a body is passed on as it comes: nothing of it is read ahead beyond the limit."""

    async def story():
        engine = Engine()
        body = json.dumps({"prompt": LONG * 1000}).encode()
        receiver = Receiver(messages_of(body, chunk=1000))
        headers = [(b"content-length", str(len(body)).encode())] if claimed else []
        read_ahead = []

        async def app_behind(scope, receive, send):
            read_ahead.append(receiver.taken)
            await engine(scope, receive, send)

        async def send(_):
            pass

        async with middleware(app_behind, daemon.target, max_body_bytes=4000) as app:
            await app(scope_of(headers=headers), receiver, send)
        assert engine.bodies == [body]
        assert read_ahead[0] <= (0 if claimed else 5)
        assert engine.priority() > 1e12

    run(story())


def test_a_client_that_goes_away_is_seen_by_the_engine(daemon):
    """In the middle of its body, or after it: the engine gets the disconnect, nothing hangs and nothing raises."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, b'{"prompt": "sho', whole=False, chunk=5)
            assert engine.gone == 1
            await post(app, {"prompt": SHORT, "max_tokens": 500})
            assert await engine.receives[-1]() == {"type": "http.disconnect"}

    run(story())


@pytest.mark.parametrize(
    "scope",
    [
        scope_of("/v1/models"), scope_of("/v1/completions/render"), scope_of("/v1/embeddings"),
        scope_of(method="GET"), scope_of(json_body=False), scope_of(kind="websocket"), scope_of(kind="lifespan"),
        scope_of(json_body=False, headers=[(b"content-type", b"multipart/form-data")]),
    ],
)  # fmt: skip
def test_everything_else_is_left_alone(daemon, scope):
    """Other routes, methods, kinds and content types get the very same scope and receive."""

    async def story():
        engine = Engine()
        receiver = Receiver(messages_of(b'{"prompt": "x"}'))

        async def send(_):
            pass

        async with middleware(engine, daemon.target) as app:
            await app(scope, receiver, send)
        assert engine.scopes[0] is scope
        assert engine.receives[0] is receiver

    run(story())


def test_a_root_path_is_looked_through(daemon):
    """Behind a prefix the same requests are ranked."""

    async def story():
        engine = Engine()

        async def send(_):
            pass

        async with middleware(engine, daemon.target) as app:
            scope = scope_of("/llm/v1/completions", root_path="/llm")
            await app(scope, Receiver(messages_of(b'{"prompt": "short"}')), send)
            assert engine.priority() > 1e12

    run(story())


def test_what_bounds_an_answer_counts(daemon):
    """A long answer that may not get long goes before one that may; vLLM's own default of completions counts too."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": LONG, "max_tokens": 500})
            for bound in ({}, {"max_tokens": 16}):
                await post(app, {"prompt": LONG} | bound)
                assert engine.priority(-1) < engine.priority(0) - 1000
            chat = {"messages": [{"role": "user", "content": LONG}], "max_tokens": 500}
            await post(app, chat | {"max_completion_tokens": 16}, "/v1/chat/completions")
            assert engine.priority(-1) < engine.priority(0) - 1000

    run(story())
