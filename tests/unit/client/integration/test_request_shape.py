"""What bodies say beside their text: the same of the same request by every API, and of a hostile one nothing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client import RequestShape
from rankd_client.integration import Route, read_request, short_text, whole_number
from rankd_client.integration.request_shape import structured_format
from support.examples import examples

USER = {"role": "user", "content": "weather in Oslo?"}
SCHEMA = {"type": "json_schema", "name": "forecast", "schema": {"type": "object"}}
SPELLED = {
    Route.CHAT: {
        "messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": "12 C"}],
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "forecast", "schema": {}}},
        "reasoning_effort": "high",
    },
    Route.RESPONSES: {
        "input": [USER, {"type": "function_call", "name": "f"}, {"type": "function_call_output", "output": "12 C"}],
        "tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "g"}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": SCHEMA},
        "reasoning": {"effort": "high"},
    },
    Route.MESSAGES: {
        "messages": [
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "12 C"}]},
        ],
        "tools": [{"name": "f"}, {"name": "g"}],
        "tool_choice": {"type": "tool", "name": "f"},
        "output_config": {"effort": "high", "format": SCHEMA},
    },
}
KIND = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NAMES = st.sampled_from(
    [
        "messages",
        "input",
        "role",
        "content",
        "type",
        "text",
        "tools",
        "functions",
        "tool_choice",
        "function",
        "name",
        "mode",
        "response_format",
        "json_schema",
        "format",
        "output_config",
        "output_format",
        "structured_outputs",
        "guided_json",
        "regex",
        "reasoning_effort",
        "reasoning",
        "effort",
        "thinking",
        "budget_tokens",
        "chat_template_kwargs",
        "enable_thinking",
        "thinking_budget",
        "n",
        "best_of",
        "stop",
        "stop_sequences",
        "metadata",
        "step",
        "tool_result",
        "output",
        "user",
        "tool",
        "assistant",
    ]
)
VALUES = st.recursive(
    KIND | NAMES, lambda v: st.lists(v, max_size=4) | st.dictionaries(NAMES, v, max_size=6), max_leaves=25
)


def shape(body, route=Route.CHAT):
    """The shape that a body is read to have."""
    return read_request(route, json.dumps(body).encode()).shape


@pytest.mark.parametrize("route", SPELLED)
def test_the_same_request_has_the_same_shape(route):
    """Whichever API it comes by."""
    assert shape(SPELLED[route], route) == RequestShape(
        messages=3, tools=2, last_role="tool", tool_choice="function:f", response_format="json_schema:forecast",
        reasoning_effort="high",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, {"tool_choice": "auto"}),
        ({"function_call": {"name": "f"}, "functions": [{}]}, {"tool_choice": "function:f", "tools": 1}),
        ({"response_format": {"type": "json_object"}}, {"response_format": "json_object"}),
        ({"response_format": "text"}, {"response_format": "text"}),
        ({"output_format": {"type": "json_schema"}}, {"response_format": "json_schema"}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"response_format": "choice"}),
        ({"guided_json": {"type": "object"}}, {"response_format": "json_schema"}),
        ({"guided_choice": ["a"]}, {"response_format": "choice"}),
        ({"grammar": "root ::= x"}, {"response_format": "grammar"}),
        ({"ebnf": "root ::= x"}, {"response_format": "grammar"}),
        ({"regex": "[0-9]+"}, {"response_format": "regex"}),
        ({"json_schema": "{}"}, {"response_format": "json_schema"}),
        ({"reasoning": {"effort": "low", "max_tokens": 9}}, {"reasoning_effort": "low", "thinking_budget": 9}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            {"reasoning_effort": "enabled", "thinking_budget": 4096},
        ),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "disabled"}),
        ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "disabled"}),
        ({"enable_thinking": True, "thinking_budget": 50}, {"reasoning_effort": "enabled", "thinking_budget": 50}),
        ({"chat_template_kwargs": {"thinking": True}}, {"reasoning_effort": "enabled"}),
        ({"thinking_token_budget": "70"}, {"thinking_budget": 70}),
        ({"n": 4}, {"choices": 4}),
        ({"n": 2, "best_of": 5}, {"choices": 5}),
        ({"n": 1, "best_of": 1}, {}),
        ({"stop": "\n"}, {"stops": 1}),
        ({"stop": ["a", "b"]}, {"stops": 2}),
        ({"stop_sequences": ["a", "b", "c"]}, {"stops": 3}),
    ],
)
def test_what_each_member_says(body, expected):
    """OpenAI's and Anthropic's, and those that engines and gateways add."""
    assert shape(body) == RequestShape(**expected)
    assert shape(body, Route.COMPLETIONS) == RequestShape(**expected)


@pytest.mark.parametrize(
    ("route", "body", "role", "messages"),
    [
        (Route.CHAT, {"messages": [USER]}, "user", 1),
        (Route.CHAT, {"messages": [{"role": "developer", "content": "x"}]}, "system", 1),
        (Route.CHAT, {"messages": [{"role": "function", "content": "x"}]}, "tool", 1),
        (Route.CHAT, {"messages": [USER, {"role": "assistant", "content": "It"}]}, "assistant", 2),
        (Route.CHAT, {"messages": [{"role": "r" * 999}]}, "r" * 64, 1),
        (Route.CHAT, {"messages": [USER, 7]}, "", 2),
        (Route.CHAT, {"messages": []}, "", 0),
        (Route.RESPONSES, {"input": "hi"}, "user", 1),
        (Route.RESPONSES, {"input": [{"type": "custom_tool_call_output", "output": "x"}]}, "tool", 1),
        (Route.RESPONSES, {"input": [{"type": "reasoning"}]}, "assistant", 1),
        (Route.RESPONSES, {"input": [{"type": "item_reference"}]}, "", 1),
        (Route.MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool", 1),
        (
            Route.MESSAGES,
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}, {"type": "text", "text": "and?"}]}]},
            "user",
            1,
        ),
        (Route.COMPLETIONS, {"prompt": "hi", "messages": [USER]}, "", 0),
    ],
)
def test_whose_the_last_message_is(route, body, role, messages):
    """By one name in all APIs; tools' results in a user's message are the tools', unless the user says something."""
    found = shape(body, route)
    assert (found.last_role, found.messages) == (role, messages)


@pytest.mark.parametrize(
    "body",
    [
        {"n": "many", "best_of": -3, "stop": 7, "tools": "f", "tool_choice": 9, "response_format": 3},
        {"n": True, "stop": {"a": 1}, "tools": {"f": 1}, "tool_choice": [], "response_format": []},
        {"n": 1e308, "thinking": {"budget_tokens": 2**32}, "reasoning_effort": {}, "reasoning": "high", "text": "x"},
        {"thinking": [], "chat_template_kwargs": "x", "structured_outputs": True, "tool_choice": {"function": []}},
        {"n": 10**400, "thinking_budget": "9" * 99, "enable_thinking": "yes", "messages": {"role": "user"}},
        {"response_format": {"type": None, "json_schema": 3}, "guided_json": None, "regex": "", "json_schema": False},
    ],
)
def test_what_is_of_another_type_counts_as_not_said(body):
    """Engines judge it."""
    for route in Route:
        assert shape(body, route) == RequestShape()


@settings(max_examples=examples(200), deadline=None)
@given(body=st.dictionaries(NAMES, VALUES, max_size=12), route=st.sampled_from(Route))
def test_whatever_a_body_holds_its_shape_can_be_sent(body, route):
    """Within what the daemon takes, and never an error."""
    read = read_request(route, json.dumps(body).encode(), "metadata.step", "metadata.step")
    found = read.shape
    for text in (found.last_role, found.tool_choice, found.response_format, found.reasoning_effort):
        assert len(text.encode()) <= 64
    for number in (found.messages, found.tools, found.thinking_budget, found.choices, found.stops):
        assert 0 <= number < 2**32
    assert all(prompt is None or prompt.strip() for prompt in read.prompts)


def test_long_lists_are_counted_and_not_walked_through():
    """A body of some megabytes must not hold up the others: of a conversation the end is looked at, 4,096 turns."""
    results = [{"role": "user", "content": [{"type": "tool_result"}]}]
    body = {"messages": [USER, *results * 4095], "tools": [{}] * 100_000, "stop": ["x"] * 100_000}
    read = read_request(Route.CHAT, json.dumps(body).encode())
    found = read.shape
    assert (found.messages, found.tools, found.stops, found.last_role) == (4096, 100_000, 100_000, "tool")
    assert read.prompts == (USER["content"],)
    assert read_request(Route.CHAT, json.dumps({"messages": [USER, *results * 4096]}).encode()).prompts == (None,)


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("high", 64, "high"),
        ("x" * 99, 64, "x" * 64),
        ("ü" * 40, 64, "ü" * 32),
        ("aü", 2, "a"),
        ("\ud800b", 64, "?b"),
        (None, 64, ""),
        (["x"], 64, ""),
    ],
)
def test_texts_are_cut_to_what_can_be_sent(text, most, kept):
    """In bytes of UTF-8, between characters."""
    assert short_text(text, most) == kept


def test_numbers_are_what_engines_take_for_them():
    """And nothing else, however large."""
    assert [whole_number(v) for v in (5, 5.0, "5", 2**32 - 1)] == [5, 5, 5, 2**32 - 1]
    assert {whole_number(v) for v in (0, -1, True, 1.5, "x", "5" * 11, 2**32, float("inf"), None, [])} == {0}


def test_an_engines_own_object_has_the_same_members():
    """As vLLM's scheduler sees it."""

    class Bound:
        json = None
        regex = "[0-9]+"

    assert structured_format(Bound()) == "regex"
    assert structured_format(None) == ""
