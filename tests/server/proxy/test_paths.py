"""What the engine will serve is what is ranked and counted, whatever goes before the API's own path."""

import json

import pytest
from support.fake_engine import post, run

from rankd.cli import main

BODY = {"messages": [{"role": "user", "content": "a short answer"}]}


@pytest.mark.parametrize(
    ("base", "asked", "got"),
    [
        ("/v1", b"/chat/completions", b"/v1/chat/completions"),
        ("/v1/", b"/v1/chat/completions?a=%2F", b"/v1/chat/completions?a=%2F"),
        ("", b"/llm/v1/chat/completions", b"/llm/v1/chat/completions"),
        ("", b"//v1/chat/completions/", b"//v1/chat/completions/"),
        ("", b"/v1/ch%61t%2Fcompletions", b"/v1/ch%61t%2Fcompletions"),
    ],
)
def test_a_request_is_ranked_by_the_path_that_the_engine_gets(start_engine, start_proxy, base, asked, got):
    """The engine is found though its URL is that of its API, and gets each request once, with its priority."""
    upstream = start_engine()
    proxy = start_proxy(upstream.url + base)
    assert run(post(proxy.port, BODY, asked))[0] == 200
    assert upstream.seen[-1].line == b"POST " + got + b" HTTP/1.1"
    assert upstream.seen[-1].priority > 1e12
    assert proxy.counts() == {"ranked": 1}


def test_other_endpoints_below_the_version_are_left_alone(start_engine, start_proxy):
    """Nothing is written into their bodies, and nothing counted."""
    upstream = start_engine()
    proxy = start_proxy(upstream.url + "/v1")
    run(post(proxy.port, {"input": "x"}, b"/embeddings"))
    assert (upstream.seen[-1].line, json.loads(upstream.seen[-1].body)) == (
        b"POST /v1/embeddings HTTP/1.1", {"input": "x"}
    )  # fmt: skip
    assert proxy.counts() == {}


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("http://x/v1/chat/completions", "must not name an endpoint: leave '/chat/completions' out"),
        ("http://x/llm/v1/models/", "must not name an endpoint: leave '/models' out"),
        ("http://x/v1?key=sekret", "must be scheme, host, port and path only"),
        ("http://x/ü", "must be ASCII: percent-encode its path"),
    ],
)
def test_a_url_that_cannot_be_an_engines_is_refused(upstream, expected, capsys):
    """By the field's name, with the remedy."""
    assert main(["proxy", "--upstream", upstream]) == 2
    said = capsys.readouterr().err
    assert "--upstream or RANKD_PROXY_UPSTREAM: " + expected in said
    assert "sekret" not in said
