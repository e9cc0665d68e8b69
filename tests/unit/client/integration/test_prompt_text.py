"""How much text the prompt of a request has, whichever API it comes by."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import PromptText, Route, read_request
from support.examples import examples

X = "x" * 1000
BASE64 = "data:image/png;base64," + "A" * 5000


def text_of(route, body):
    """Of the only prompt of a body."""
    (text,) = read_request(route, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")).texts
    return text


@pytest.mark.parametrize(
    ("route", "body", "expected"),
    [
        (Route.COMPLETIONS, {"prompt": X}, PromptText(1000)),
        (Route.COMPLETIONS, {"prompt": X, "suffix": "end"}, PromptText(1003)),
        (Route.COMPLETIONS, {"prompt": [1, 2, 3]}, PromptText(token_ids=3)),
        (Route.COMPLETIONS, {"prompt": None}, PromptText()),
        (Route.COMPLETIONS, {"prompt": "日本語"}, PromptText(9)),
        (Route.COMPLETIONS, {"prompt": "\ud800"}, PromptText(3)),
        (Route.CHAT, {"messages": [{"role": "system", "content": X}, {"role": "user", "content": "é"}]},
         PromptText(1002)),
        (Route.CHAT, {"messages": X}, PromptText(1000)),
        (Route.CHAT, {"documents": [{"title": "t", "text": X}], "messages": []}, PromptText(1001)),
        (Route.RESPONSES, {"instructions": X, "input": "q"}, PromptText(1001)),
        (Route.RESPONSES, {"input": "q", "previous_response_id": "r"}, PromptText(1, is_all=False)),
        (Route.MESSAGES, {"system": [{"type": "text", "text": X}], "messages": []}, PromptText(1000)),
    ],
)  # fmt: skip
def test_texts_are_counted_in_bytes(route, body, expected):
    """Of UTF-8; token ids by their number."""
    assert text_of(route, body) == expected


CONVERSATIONS = {
    "chat": (
        Route.CHAT,
        [
            {"role": "user", "content": [{"type": "text", "text": X}]},
            {"role": "assistant", "content": None, "reasoning_content": "think", "tool_calls": [
                {"id": "ignored", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
            {"role": "tool", "tool_call_id": "ignored", "content": "result"},
        ],
        "messages",
    ),
    "responses": (
        Route.RESPONSES,
        [
            {"role": "user", "content": [{"type": "input_text", "text": X}]},
            {"type": "reasoning", "encrypted_content": BASE64, "summary": [{"type": "summary_text", "text": "think"}]},
            {"type": "function_call", "call_id": "ignored", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": "ignored", "output": "result"},
        ],
        "input",
    ),
    "messages": (
        Route.MESSAGES,
        [
            {"role": "user", "content": X},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "think", "signature": BASE64},
                {"type": "tool_use", "id": "ignored", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "ignored", "content": [{"type": "text", "text": "result"}]}]},
        ],
        "messages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("api", CONVERSATIONS)
def test_a_tools_loop_counts_and_tells_what_went_before(api):
    """What the model answered and what came before it may be cached, what a tool gave back since is new."""
    route, turns, name = CONVERSATIONS[api]
    text = text_of(route, {name: turns})
    before = len(X) + len("think") + len("f") + len('{"a":1}')
    assert text.earlier == pytest.approx(before, abs=8)
    assert (text.size - text.earlier, text.is_all) == (len("result"), True)
    assert text_of(route, {name: turns[:1]}) == PromptText(1000)


@pytest.mark.parametrize(
    ("route", "part"),
    [
        (Route.CHAT, {"type": "image_url", "image_url": {"url": BASE64}}),
        (Route.CHAT, {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}),
        (Route.CHAT, {"type": "file", "file": {"file_data": BASE64, "filename": "x.pdf"}}),
        (Route.RESPONSES, {"type": "input_image", "image_url": BASE64}),
        (Route.RESPONSES, {"type": "input_file", "file_data": BASE64}),
        (Route.MESSAGES, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}),
        (Route.MESSAGES, {"type": "document", "source": {"type": "base64", "data": BASE64}}),
    ],
)
def test_what_is_no_text_counts_as_nothing(route, part):
    """And such a prompt is not learned from: its tokens are not those of its text."""
    name = "input" if route is Route.RESPONSES else "messages"
    text = text_of(route, {name: [{"role": "user", "content": [{"type": "text", "text": X}, part]}]})
    assert text == PromptText(1000, is_all=False)


def test_documents_that_are_text_count():
    """Anthropic's, plain or of blocks."""
    for source in ({"type": "text", "data": X}, {"type": "content", "content": [{"type": "text", "text": X}]}):
        part = {"type": "document", "title": "t", "source": source}
        assert text_of(Route.MESSAGES, {"messages": [{"role": "user", "content": [part]}]}) == PromptText(1001)


@pytest.mark.parametrize("route", [Route.CHAT, Route.RESPONSES, Route.MESSAGES])
def test_definitions_of_tools_count_about_as_their_json(route):
    """That is how chat templates show them to the model."""
    tools = [{"name": f"f{i}", "input_schema": {"type": "object", "n": i, "of": ["a", True, None]}} for i in range(50)]
    assert text_of(route, {"tools": tools}).size == pytest.approx(len(json.dumps(tools)), rel=0.2)


def test_of_several_prompts_each_is_counted():
    """Whatever kind each is, and no more than are asked about."""
    read = read_request(Route.COMPLETIONS, json.dumps({"prompt": ["ab", [1, 2], None, "c"] + ["x"] * 300}).encode())
    assert read.texts[:4] == (PromptText(2), PromptText(token_ids=2), PromptText(), PromptText(1))
    assert len(read.texts) == len(read.prompts) == 256


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("assistant"),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["role", "content", "type", "text", "input", "tools", "messages", "prompt", "source", "tenant"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["messages", "input", "prompt", "tools", "system", "metadata"]), JSON))
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_sent_is_counted(body):
    """Never an error, never more than there is, and as many counts as prompts."""
    data = json.dumps(body).encode()
    for route in Route:
        read = read_request(route, data, "metadata.tenant")
        assert len(read.texts) == len(read.prompts)
        assert all(0 <= t.earlier <= t.size <= 3 * len(data) for t in read.texts)
        assert isinstance(read.tenant, str)


def test_depth_is_no_matter():
    """What a parser takes is counted without going down into it step by step."""
    deep = b'{"messages":' + b'[{"content":' * 400 + b'"abc"' + b"}]" * 400 + b"}"
    (text,) = read_request(Route.CHAT, deep).texts
    assert text.size == 3


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{}] * 70_000 + [{"role": "user", "content": X}]},
        {"messages": [{"role": "user", "content": [""] * 70_000 + [X]}]},
        {"messages": [{"role": "user", "content": ""}] * 70_000},
        {"messages": [], "tools": [1] * 70_000},
        {"messages": [], "tools": [{str(n): n for n in range(70_000)}]},
    ],
    ids=["messages", "parts", "empty", "tools", "members"],
)
def test_a_request_of_endless_parts_counts_as_all_text(body):
    """It is not looked at to its end, which holds everybody up; and nothing is hidden behind them."""
    size = len(json.dumps(body, ensure_ascii=False))
    assert text_of(Route.CHAT, body) == PromptText(size, is_all=False)
