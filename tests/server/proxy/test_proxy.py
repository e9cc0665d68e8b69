"""`rankd proxy` between raw clients and a raw engine, byte by byte, with a real daemon behind it."""

import gzip
import json
import time
import zlib

import pytest
from support.fake_engine import EVENTS, post, run, whole, within

from rankd.errors import ConfigError

SHORT, LONG = "a short answer", "a long long long answer"
PATHS = ["/v1/completions", "/v1/chat/completions", "/v1/responses"]
ANSWER = json.dumps({"choices": [{"text": "ü", "finish_reason": "length"}], "usage": {"completion_tokens": 5}}).encode()


def without(body, priority):
    """A body without the priority that was put into it."""
    return body.replace(b'"priority":%d,' % priority, b"", 1)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", lambda text: {"prompt": text}),
        ("/v1/completions", lambda text: {"prompt": [SHORT, text]}),
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}], "tools": [{"x": "é"}]}),
        ("/v1/responses", lambda text: {"input": [{"role": "user", "content": [{"text": text}]}]}),
    ],
)
@pytest.mark.parametrize(("name", "sign"), [("vllm", 1), ("sglang", -1)])
def test_short_answers_go_first_in_the_engines_direction(start_engine, start_proxy, path, body, name, sign):
    """On each endpoint, lower first before vLLM and higher first before SGLang; apart from that no byte changes."""
    upstream = start_engine(engine=name)
    proxy = start_proxy(upstream)

    async def story():
        for text in (LONG, SHORT):
            data = json.dumps(body(text) | {"max_tokens": None, "stream": True}, indent=3).encode()
            status, _, answer = await post(proxy.port, data, path.encode())
            assert (status, answer) == (200, b"".join(EVENTS))
            assert without(upstream.seen[-1].body, upstream.seen[-1].priority) == data
        long, short = (seen.priority * sign for seen in upstream.seen)
        assert short < long
        assert abs(long - time.time() * 1000) < 1e6

    run(story())


def test_an_engine_that_does_not_say_what_it_is_needs_a_direction(start_engine, start_proxy):
    """Guessing would serve the longest first: the start is refused with the remedy; named, it works."""
    upstream = start_engine(engine="unknown")
    with pytest.raises(ConfigError, match="--direction lower-first"):
        start_proxy(upstream)
    proxy = start_proxy(upstream, direction="higher-first")
    run(post(proxy.port, {"prompt": SHORT}))
    assert upstream.seen[0].priority < -1e12


@pytest.mark.parametrize(
    ("says", "direction", "warnings"),
    [
        ({"enable_priority_scheduling": False}, "higher-first", ["sglang_not_in_priority_mode"]),
        ({"enable_priority_scheduling": True, "schedule_low_priority_values_first": True,
          "priority_scheduling_preemption_threshold": 10}, "lower-first", ["sglang_preempts"]),
        ({"enable_priority_scheduling": True, "priority_scheduling_preemption_threshold": 10**15,
          "enable_metrics": True}, "higher-first", ["sglang_metrics_grow"]),
        ({"vllm_config": "..."}, "lower-first", []),
    ],
)  # fmt: skip
def test_what_an_engine_says_of_itself_is_heeded(start_engine, start_proxy, says, direction, warnings):
    """SGLang's own direction, and whatever in its settings makes ranking useless or harmful."""
    proxy = start_proxy(start_engine(engine=says))
    found = proxy.server._upstream.engine
    assert (found.direction.value, list(found.warnings)) == (direction, warnings)


def test_an_engine_that_starts_later_is_asked_then(start_engine, start_proxy):
    """Until it is known nobody gets a priority, so that nobody jumps the queue; then all do."""
    gone = start_engine()
    gone.close()
    proxy = start_proxy(gone.url)
    status, _, answer = run(post(proxy.port, {"prompt": SHORT}))
    assert (status, json.loads(answer)["error"]["code"]) == (502, "upstream_unreachable")
    assert proxy.counts() == {"direction_unknown": 1}
    upstream = start_engine(port=gone.port, engine="sglang")
    within(lambda: proxy.server._upstream.direction == "higher-first")
    run(post(proxy.port, {"prompt": SHORT}))
    assert upstream.seen[-1].priority < -1e12


@pytest.mark.parametrize(("client_priority", "kept"), [("keep", True), ("ignore", False)])
def test_a_priority_of_the_client_is_kept_or_not(start_engine, start_proxy, client_priority, kept):
    """As for vLLM's middleware; in the body its value is replaced in place, the header is dropped."""
    upstream = start_engine()
    proxy = start_proxy(upstream, asking={"client_priority": client_priority})

    async def story():
        body = b'{ "a": [1], "priority" :  -3, "prompt":"short"}'
        await post(proxy.port, body)
        await post(proxy.port, {"prompt": SHORT}, fields=[(b"X-VLLM-Priority", b"-3")])
        in_body, in_header = upstream.seen
        assert (in_body.body == body) is kept
        assert kept or in_body.body == body.replace(b"-3", str(in_body.priority).encode())
        assert in_header.values(b"x-vllm-priority") == ([b"-3"] if kept else [])
        assert (b"priority" in in_header.body) is not kept
        assert proxy.counts() == ({"client": 2} if kept else {"ranked": 2})

    run(story())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_content_encoding_that_is_not_true_jumps_no_queue(start_engine, start_proxy, encoding):
    """Engines do not read the field, and take the JSON: it is ranked as any other."""
    upstream = start_engine()
    proxy = start_proxy(upstream, asking={"client_priority": "ignore"})
    body = json.dumps({"prompt": SHORT, "priority": -3}).encode(encoding)
    run(post(proxy.port, body, fields=[(b"Content-Encoding", b"gzip")]))
    assert upstream.seen[0].priority > 1e12
    assert proxy.counts() == {"ranked": 1}


def test_vllms_header_is_no_priority_for_sglang(start_engine, start_proxy):
    """It does not read it: with it alone the request would go behind all."""
    upstream = start_engine(engine="sglang")
    proxy = start_proxy(upstream)
    run(post(proxy.port, {"prompt": SHORT}, fields=[(b"X-Vllm-Priority", b"5")]))
    assert upstream.seen[0].priority < -1e12


def test_a_header_that_vllm_would_ignore_is_none(start_engine, start_proxy):
    """With it, and without a priority in the body, the request would have priority 0 and go before all."""
    upstream = start_engine()
    proxy = start_proxy(upstream)
    run(post(proxy.port, {"prompt": SHORT}, fields=[(b"x-vllm-priority", b"high")]))
    assert upstream.seen[0].priority > 1e12


def test_messages_get_their_priority_where_the_engine_takes_it(start_engine, start_proxy):
    """Anthropic's: in a header for vLLM; SGLang takes none, and its body stays as it is."""
    body = json.dumps({"messages": [{"role": "user", "content": SHORT}]}).encode()
    for name, given in (("vllm", True), ("sglang", False)):
        upstream = start_engine(engine=name)
        proxy = start_proxy(upstream)
        run(post(proxy.port, body, b"/v1/messages"))
        assert upstream.seen[0].body == body
        assert bool(upstream.seen[0].values(b"x-vllm-priority")) is given
        assert proxy.counts() == ({"ranked": 1} if given else {"messages": 1})


@pytest.mark.parametrize(("name", "path"), [("vllm", "/v1/chat/completions/batch"), ("sglang", "/generate")])
def test_what_takes_a_priority_and_is_not_ranked_gets_its_arrivals(start_engine, start_proxy, name, path):
    """Without one it would go before, or after, all that have one."""
    upstream = start_engine(engine=name)
    proxy = start_proxy(upstream)
    run(post(proxy.port, b'{"text": "x"}', path.encode()))
    assert abs(abs(upstream.seen[0].priority) - time.time() * 1000) < 10_000
    assert proxy.counts() == {"arrival_only": 1}


OBJECTS = [
    b"{}", b" \r\n\t{ }", b'\xef\xbb\xbf{"prompt": "short"}', b'{"prompt": NaN}', b'{"prompt": "a", "prompt": 7}',
    b'{"prompt": [[1, 2], "short", null, {}]}', b'{"prompt": "short", "max_tokens": ' + b"9" * 40 + b"}",
    b'{"prompt": "\\ud800 short"}', b'{"prompt": {"priority": 3}}', b'{"a":' * 5_000,
    b'{"prompt": "x", "priority": null}',
    json.dumps({"prompt": ["short"] * 3000}).encode(), json.dumps({"prompt": "x" * 3_000_000}).encode(),
    '{"prompt": "short"}'.encode("utf-16"),
]  # fmt: skip
OTHERS = [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b"\x00" * 100, b"{'a': 1}", b"{]"]


@pytest.mark.parametrize("chunked", [0, 997])
def test_hostile_bodies_pass_with_a_priority_and_else_untouched(start_engine, start_proxy, chunked):
    """Whatever is sent reaches the engine; an object has a place in the queue that is not the first."""
    upstream = start_engine(whole(ANSWER))
    proxy = start_proxy(upstream)

    async def story():
        for path in PATHS:
            for body in OBJECTS:
                await post(proxy.port, body, path.encode(), chunked=chunked)
                got, mark = upstream.seen[-1].body, b'"priority":'
                if b"\x00" in body or b"null}" in body:
                    assert json.loads(got)["priority"] > 1e12
                else:
                    at = got.index(mark, 0, 100) + len(mark)
                    priority = int(got[at : at + 13])
                    assert priority > 1e12
                    assert got.replace(mark + str(priority).encode() + (b"," if b'"' in body else b""), b"", 1) == body
            for body in OTHERS:
                await post(proxy.port, body, path.encode(), chunked=chunked)
                assert upstream.seen[-1].body == body
        assert not {k for k in proxy.counts() if k.startswith("error")}

    run(story())


@pytest.mark.parametrize(
    ("coding", "pack", "outcome"),
    [
        (b"gzip", gzip.compress, "ranked"),
        (b"deflate, GZIP", lambda body: gzip.compress(zlib.compress(body)), "ranked"),
        (b"gzip", lambda body: gzip.compress(body)[:-20], "encoded"),
        (b"gzip", lambda body: gzip.compress(body + b" " * 2**22), "encoded"),
        (b"br", lambda body: body[::-1], "encoded"),
    ],
)
def test_an_encoded_body_passes_untouched_with_its_priority_in_the_header(
    start_engine, start_proxy, coding, pack, outcome
):
    """It is read decoded; what cannot be read stands where it arrived, as a gateway before vLLM may decode it."""
    upstream = start_engine()
    proxy = start_proxy(upstream)
    for text in (LONG, SHORT):
        body = pack(json.dumps({"prompt": text, "max_tokens": None}).encode())
        run(post(proxy.port, body, fields=[(b"Content-Encoding", coding)]))
        assert upstream.seen[-1].body == body
        assert upstream.seen[-1].values(b"content-encoding") == [coding]
    long, short = (int(seen.values(b"x-vllm-priority")[0]) for seen in upstream.seen)
    assert abs(long - time.time() * 1000) < 1e6
    assert (short < long) is (outcome == "ranked")
    assert proxy.counts() == {outcome: 2}


def test_an_encoded_body_stays_as_it_is_where_no_header_helps(start_engine, start_proxy):
    """A priority cannot be put into it."""
    upstream = start_engine(engine="sglang")
    proxy = start_proxy(upstream)
    body = gzip.compress(json.dumps({"prompt": SHORT}).encode())
    run(post(proxy.port, body, fields=[(b"Content-Encoding", b"gzip")]))
    assert (upstream.seen[0].body, upstream.seen[0].values(b"x-vllm-priority")) == (body, [])
    assert proxy.counts() == {"encoded": 1}


def test_an_encoded_body_keeps_its_clients_priority_or_not(start_engine, start_proxy):
    """As any other."""
    body = gzip.compress(json.dumps({"prompt": SHORT, "priority": -3}).encode())
    for kept in ("keep", "ignore"):
        upstream = start_engine()
        proxy = start_proxy(upstream, asking={"client_priority": kept})
        run(post(proxy.port, body, fields=[(b"Content-Encoding", b"gzip")]))
        assert upstream.seen[0].body == body
        assert bool(upstream.seen[0].values(b"x-vllm-priority")) is (kept == "ignore")
        assert proxy.counts() == ({"client": 1} if kept == "keep" else {"ranked": 1})


@pytest.mark.parametrize("chunked", [0, 50_000])
@pytest.mark.parametrize("first", [b'"prompt"', b'"priority":-5,"prompt"'])
def test_a_body_over_the_limit_gets_a_priority_while_it_passes(start_engine, start_proxy, chunked, first):
    """Behind its first brace: it stands where it arrived, unless the client says another place further back."""
    upstream = start_engine()
    proxy = start_proxy(upstream, asking={"max_body_bytes": 10_000})
    body = b"  {" + first + b': "' + b"long " * 200_000 + b'"}'
    run(post(proxy.port, body, chunked=chunked))
    got = upstream.seen[0].body
    assert got[:14] == b'  {"priority":'
    assert got[:3] + got[got.index(b",") + 1 :] == body
    expected = -5 if b"-5" in first else pytest.approx(time.time() * 1000, abs=10_000)
    assert upstream.seen[0].priority == expected
    assert proxy.counts() == {"too_large": 1}
