"""What is read of a request: the same of the same conversation, whichever API it comes by."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import Route, read_request
from support.examples import examples

PICTURE = object()
TOOL = object()


def chat(turns):
    """A conversation as OpenAI's chat has it: what a tool gave back is a message of its own."""
    parts = {PICTURE: {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}}
    messages = [{"role": "system", "content": "Be brief."}]
    for role, *contents in turns:
        if TOOL in contents:
            call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": "1", "content": "12 C"})
        given = [parts.get(c) or {"type": "text", "text": c} for c in contents if c is not TOOL]
        if given:
            messages.append({"role": role, "content": given})
    return Route.CHAT, {"messages": messages}


def responses(turns):
    """As OpenAI's responses have it: an item of its own."""
    parts = {PICTURE: {"type": "input_image", "image_url": "data:image/png;base64,AA=="}}
    items = [{"role": "developer", "content": "Be brief."}]
    for role, *contents in turns:
        if TOOL in contents:
            items.append({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"})
            items.append({"type": "function_call_output", "call_id": "1", "output": "12 C"})
        kind = "input_text" if role == "user" else "output_text"
        given = [parts.get(c) or {"type": kind, "text": c} for c in contents if c is not TOOL]
        if given:
            items.append({"type": "message", "role": role, "content": given})
    return Route.RESPONSES, {"input": items}


def messages(turns):
    """As Anthropic's messages have it: a block of the user's own message."""
    parts = {
        PICTURE: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        TOOL: {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "12 C"}]},
    }
    out = []
    for role, *contents in turns:
        if TOOL in contents:
            out.append({"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]})
        out.append({"role": role, "content": [parts.get(c) or {"type": "text", "text": c} for c in contents]})
    return Route.MESSAGES, {"system": "Be brief.", "messages": out, "max_tokens": 50}


WEATHER = ("user", "weather in Oslo?")
CONVERSATIONS = {
    "a question": ([WEATHER], "weather in Oslo?"),
    "a tool's result is last": ([WEATHER, ("user", TOOL)], "12 C"),
    "several of them": ([WEATHER, ("user", TOOL), ("user", TOOL)], "12 C"),
    "a text beside a result": ([WEATHER, ("user", TOOL, "and in Rome?")], "and in Rome?"),
    "an answer, and another question": ([WEATHER, ("user", TOOL), ("assistant", "12 C"), ("user", "why?")], "why?"),
    "an answer that is begun": ([WEATHER, ("user", TOOL), ("assistant", "It is")], "12 C"),
    "a question before an answer that is begun": ([WEATHER, ("assistant", "It is")], "weather in Oslo?"),
    "a result of an earlier step": (
        [WEATHER, ("user", TOOL), ("assistant", "12 C"), ("user", PICTURE)],
        "weather in Oslo?",
    ),
    "a picture alone is last": (
        [("user", "what is this?"), ("assistant", "a cat"), ("user", PICTURE)],
        "what is this?",
    ),
    "a picture and a text": ([WEATHER, ("user", PICTURE, "this?", "or that?")], "this?\nor that?"),
    "blanks are no text": ([WEATHER, ("user", " \n")], "weather in Oslo?"),
    "an empty one is none": ([WEATHER, ("user", "")], "weather in Oslo?"),
    "a picture and nothing else": ([("user", PICTURE)], None),
    "the assistant's is not the user's": ([("assistant", "12 C")], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("turns", "text"), list(CONVERSATIONS.values()), ids=list(CONVERSATIONS))
def test_the_same_conversation_is_read_the_same(turns, text):
    """The user's last message that has text, or what a tool gave back last, in all three APIs that have messages."""
    for spelled in (chat, responses, messages):
        route, body = spelled(turns)
        assert read_request(route, json.dumps(body).encode()).prompts == (text,), route


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        (["hi", "there"], "hi\nthere"),
        ([{"text": "hi"}], "hi"),
        ([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, {"type": "text", "text": "hi"}], "hi"),
        ([{"type": "document", "source": {"type": "text", "data": "a book"}}, {"type": "text", "text": "hi"}], "hi"),
        ([{"type": "document", "title": "x", "text": "a book"}], "before"),
        ([{"type": "search_result", "content": [{"type": "text", "text": "found"}]}], "before"),
        ([{"type": ["text"], "text": "hi"}, {"type": {}, "text": "hi"}], "before"),
        ([{"type": "text", "text": None}, {"type": "text"}, None, 3], "before"),
        (None, "before"),
        ({"type": "text", "text": "hi"}, "before"),
        ([], "before"),
    ],
)
def test_contents_of_all_kinds(content, text):
    """Parts that are text count; others are looked past, and with them a message that has no other."""
    turns = [{"role": "user", "content": "before"}, {"role": "user", "content": content}]
    for route, name in ((Route.CHAT, "messages"), (Route.RESPONSES, "input"), (Route.MESSAGES, "messages")):
        assert read_request(route, json.dumps({name: turns}).encode()).prompts == (text,)


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("once", ("once",)),
        (["once", "twice"], ("once", "twice")),
        ([1, 2, 3], (None,)),
        ([[1, 2], [3]], (None, None)),
        (["once", [1]], ("once", None)),
        ("", (None,)),
        (["", "once"], (None, "once")),
        ([], (None,)),
        (None, (None,)),
        ({"text": "once"}, (None,)),
    ],
)
def test_prompts_of_completions(prompt, prompts):
    """Token ids are no text that a ranker reads."""
    assert read_request(Route.COMPLETIONS, json.dumps({"prompt": prompt}).encode()).prompts == prompts
    if not isinstance(prompt, list):
        assert read_request(Route.RESPONSES, json.dumps({"input": prompt}).encode()).prompts == prompts


@pytest.mark.parametrize(
    ("route", "body", "expected"),
    [
        (Route.CHAT, {"max_tokens": 5}, 5),
        (Route.CHAT, {"max_tokens": 5, "max_completion_tokens": 7}, 7),
        (Route.COMPLETIONS, {}, 16),
        (Route.COMPLETIONS, {"max_tokens": None}, 0),
        (Route.RESPONSES, {"max_output_tokens": 9, "max_tokens": 5}, 9),
        (Route.MESSAGES, {"max_tokens": 5}, 5),
        (Route.MESSAGES, {}, 0),
        (Route.CHAT, {"max_tokens": "5"}, 5),
        (Route.CHAT, {"max_tokens": 5.0}, 5),
        (Route.CHAT, {"max_tokens": "many"}, 0),
        (Route.CHAT, {"max_tokens": True}, 0),
        (Route.CHAT, {"max_tokens": -1}, 0),
    ],
)
def test_what_bounds_an_answer(route, body, expected):
    """By the name that it has in each API; 0 is no bound."""
    assert read_request(route, json.dumps(body).encode()).max_tokens == expected


@pytest.mark.parametrize(
    ("route", "body", "asks"),
    [
        (Route.CHAT, {}, True),
        (Route.CHAT, {"stream": True}, False),
        (Route.CHAT, {"stream": True, "stream_options": None}, False),
        (Route.COMPLETIONS, {"stream": True, "stream_options": {"include_usage": True}}, True),
        (Route.CHAT, {"stream": True, "stream_options": {"continuous_usage_stats": True}}, True),
        (Route.RESPONSES, {"stream": True}, True),
        (Route.MESSAGES, {"stream": True}, True),
    ],
)
def test_whether_an_answer_is_asked_to_count_itself(route, body, asks):
    """Streams of OpenAI's older two are not, unless their bodies say so."""
    assert read_request(route, json.dumps(body).encode()).asks_usage is asks


def test_the_model_is_what_the_body_names():
    """And nothing where that is no name."""
    for body, model in (({"model": "m"}, "m"), ({}, ""), ({"model": None}, ""), ({"model": ["m"]}, "")):
        for route in Route:
            assert read_request(route, json.dumps(body).encode()).model == model


NAMES = st.sampled_from(
    ["messages", "input", "prompt", "role", "content", "type", "text", "model", "stream", "stream_options", "n",
     "best_of", "max_tokens", "include_usage", "request_id", "priority"]
)  # fmt: skip
TEXTS = st.sampled_from(["user", "tool", "text", "input_text", "tool_result", "", " ", "hi", "\ud800", "\0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=examples(400), deadline=None)
@given(body=VALUES, route=st.sampled_from(list(Route)))
def test_any_json_is_read_or_is_no_request(body, route):
    """Prompts are texts with something in them, or none."""
    request = read_request(route, json.dumps(body).encode())
    assert (request is None) is not isinstance(body, dict)
    if request is not None:
        assert request.prompts
        assert all(p is None or (isinstance(p, str) and p.strip()) for p in request.prompts)
        assert read_request(route, json.dumps(body, indent=2, ensure_ascii=True).encode()) == request
