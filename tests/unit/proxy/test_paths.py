"""Paths: what the engine gets for a client's, and what it serves there."""

import pytest
from rankd_client.integration import Route

from rankd.proxy.paths import EnginePaths, endpoint_at_end

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("upstream", "path", "url"),
    [
        ("http://e:1", "/v1/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/", "/v1/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/v1", "/v1/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/v1/", "/v1/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/v1//", "//v1/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/v1", "/chat/completions", "http://e:1/v1/chat/completions"),
        ("http://e:1/openai/v1", "/chat/completions", "http://e:1/openai/v1/chat/completions"),
        ("http://e:1/openai/v1", "/v1/chat/completions", "http://e:1/openai/v1/chat/completions"),
        ("http://e:1/openai", "/v1/chat/completions", "http://e:1/openai/v1/chat/completions"),
        ("http://e:1", "/llm/v1/chat/completions", "http://e:1/llm/v1/chat/completions"),
        ("http://e:1/a%20b/v1", "/chat/completions", "http://e:1/a%20b/v1/chat/completions"),
        ("http://e:1", "/v1/chat/completions/", "http://e:1/v1/chat/completions/"),
        ("http://e:1", "/v1//chat/completions", "http://e:1/v1//chat/completions"),
        ("http://e:1", "//v1/chat/completions", "http://e:1//v1/chat/completions"),
        ("http://e:1", "/x/../v1/./chat/completions", "http://e:1/x/../v1/./chat/completions"),
    ],
)
def test_what_the_engine_will_serve_as_a_chat(upstream, path, url):
    """It gets the path as it came, but for a version that would be doubled; and the request is ranked."""
    paths = EnginePaths(upstream)
    assert paths.url(path.encode(), b"") == url
    assert paths.url(path.encode(), b"a=/v1&b=%2F") == url + "?a=/v1&b=%2F"
    assert paths.route("POST", path) is Route.CHAT
    assert paths.route("GET", path) is None


@pytest.mark.parametrize(
    ("upstream", "path"),
    [
        ("http://e:1", "/chat/completions"),
        ("http://e:1", "/xv1/chat/completions"),
        ("http://e:1", "/v1/chat/completions/render"),
        ("http://e:1", "/v1/chat/completions/../embeddings"),
        ("http://e:1", "/v10/chat/completions"),
        ("http://e:1/xv1", "/chat/completions"),
        ("http://e:1", "/V1/Chat/Completions"),
        ("http://e:1", "/v1/messages/count_tokens"),
        ("http://e:1", "/v1/responses/resp_1/cancel"),
        ("http://e:1/v1", "/v1"),
        ("http://e:1/v1", ""),
        ("http://e:1", "/"),
        ("http://e:1", "/.."),
    ],
)
def test_what_is_left_alone(upstream, path):
    """What no engine serves as one of the ranked endpoints."""
    assert EnginePaths(upstream).route("POST", path) is None


@pytest.mark.parametrize("route", list(Route))
@pytest.mark.parametrize("prefix", ["", "/llm", "/a/b.c", "/v1"])
def test_every_endpoint_under_every_prefix(route, prefix):
    """Whether the prefix is in the engine's URL or in the client's path."""
    assert EnginePaths("http://e:1").route("POST", prefix + route.value) is route
    assert EnginePaths("http://e:1" + prefix).route("POST", route.value) is route
    assert EnginePaths(f"http://e:1{prefix}/v1").route("POST", route.value.removeprefix("/v1")) is route


@pytest.mark.parametrize(
    ("engine", "path", "takes"),
    [
        ("vllm", "/v1/chat/completions/batch", True),
        ("vllm", "/llm/v1/chat/completions/batch/", True),
        ("vllm", "/invocations", True),
        ("vllm", "/inference/v1/generate", True),
        ("vllm", "/generate", False),
        ("sglang", "/generate", True),
        ("sglang", "/llm//generate", True),
        ("sglang", "/v1/embeddings", False),
        ("named", "/generate", False),
        ("", "/generate", False),
    ],
)
def test_what_gets_its_arrivals_priority(engine, path, takes):
    """Further endpoints of an engine's whose bodies take one, under any prefix."""
    assert EnginePaths("http://e:1").takes_priority(engine, "POST", path) is takes
    assert not EnginePaths("http://e:1").takes_priority(engine, "PUT", path)


@pytest.mark.parametrize(
    ("upstream", "root"),
    [
        ("http://e:1", "http://e:1"),
        ("http://e:1/v1/", "http://e:1"),
        ("https://e/openai/v1", "https://e/openai"),
        ("https://e/llm", "https://e/llm"),
    ],
)
def test_where_the_engine_is_asked_what_it_is(upstream, root):
    """Before its version."""
    assert EnginePaths(upstream).root == root


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/llm/v1/completions/", "/completions"),
        ("/v1/models", "/models"),
        ("/v1", ""),
        ("/", ""),
        ("", ""),
        ("/completions", ""),
    ],
)
def test_an_endpoint_at_the_end_of_a_url_is_found(path, endpoint):
    """It is pasted there by mistake, out of a client's example."""
    assert endpoint_at_end(path) == endpoint
