"""What an answer's usage says of its prompt, in whole answers and in streams."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import Route
from support.answers import JSON, events, read, stream
from support.examples import examples

from rankd.proxy.prompt_usage import PromptUsage, prompt_usage, prompt_usage_of_message

DETAILS = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 64}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (DETAILS, (100, 64)),
        ({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 0}}, (100, 0)),
        ({"prompt_tokens": 100.0, "prompt_tokens_details": None}, (100, None)),
        ({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": None}}, (100, None)),
        ({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 101}}, (100, None)),
        ({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": -1}}, (100, None)),
        ({"prompt_tokens": 100, "prompt_tokens_details": [1]}, (100, None)),
        ({"prompt_tokens": "100"}, (0, None)),
        ({"prompt_tokens": -1, "prompt_tokens_details": {"cached_tokens": 5}}, (0, None)),
        ({"prompt_tokens": True}, (0, None)),
        ({"prompt_tokens": 10**7 + 1}, (0, None)),
        ({"prompt_tokens": 1e300}, (0, None)),
        ({}, (0, None)),
    ],
)
def test_openai_counts_cached_tokens_among_the_prompts(usage, expected):
    """What cannot be is left out, and is no error."""
    assert prompt_usage(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 36, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 10}, (110, 64)),
        ({"input_tokens": 36, "cache_read_input_tokens": 0}, (36, 0)),
        ({"input_tokens": 36}, (36, None)),
        ({"input_tokens": 36, "cache_read_input_tokens": None}, (36, None)),
        ({"input_tokens": 36, "cache_read_input_tokens": "64"}, (0, None)),
        ({"input_tokens": 36, "cache_read_input_tokens": -64}, (0, None)),
        ({"input_tokens": 0}, (0, None)),
        ({}, (0, None)),
    ],
)
def test_anthropic_counts_them_apart(usage, expected):
    """A prompt is what was read, written to the cache and taken from it."""
    assert prompt_usage_of_message(usage) == expected


BEGINNING = {"type": "message_start", "message": {"usage": {
    "input_tokens": 36, "cache_read_input_tokens": 64, "output_tokens": 1}}}  # fmt: skip
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
CONTINUED = {"choices": [{"delta": {}, "finish_reason": None}], "usage": {"prompt_tokens": 100, "completion_tokens": 4}}
STREAMS = {
    "usage at the end": (Route.CHAT, stream({"choices": []}, {"choices": [], "usage": DETAILS}), (100, 64)),
    "counted along": (Route.CHAT, stream(*[CONTINUED] * 3, {"choices": [], "usage": DETAILS}), (100, 64)),
    "responses": (
        Route.RESPONSES,
        events(
            {"type": "response.created", "response": {"usage": None}},
            {"type": "response.completed", "response": {"status": "completed", "usage": {
                "input_tokens": 100, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 64}}}},
        ),
        (100, 64),
    ),
    "a message's beginning": (Route.MESSAGES, events(BEGINNING, END), (100, 64)),
    "and its end, without the cached": (
        Route.MESSAGES, events(BEGINNING, END | {"usage": {"input_tokens": 36, "output_tokens": 5}}), (100, 64)
    ),
    "its end alone": (
        Route.MESSAGES, events({"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}},
                               END | {"usage": {"input_tokens": 100, "output_tokens": 5}}), (100, None)
    ),
    "none": (Route.MESSAGES, events({"type": "message_start", "message": 5}, END), (0, None)),
}  # fmt: skip


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("cut", [1, 13, 10_000])
def test_streams_say_it_where_their_api_does(kind, cut):
    """However they are cut; what is said first may be more than what is said last."""
    route, text, expected = STREAMS[kind]
    answer = read(route, text, cut=cut)
    assert answer.outcome()[0] == 5
    assert answer.prompt == expected


def test_an_answer_under_way_says_it_too():
    """With its lower bound, where tokens are counted along."""
    answer = read(Route.CHAT, events(CONTINUED, CONTINUED))
    assert (answer.lower_bound, answer.prompt) == (4, (100, None))


COUNTS = (
    st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.booleans() | st.lists(st.integers(), max_size=2)
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt_tokens", "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
             "completion_tokens", "prompt_tokens_details", "input_tokens_details"]
        ),
        COUNTS | st.dictionaries(st.just("cached_tokens"), COUNTS),
    ),
    st.sampled_from(list(Route)),
)  # fmt: skip
@settings(max_examples=examples(300), deadline=None)
def test_no_usage_makes_a_report_that_the_daemon_refuses(usage, route):
    """Whatever an engine says."""
    answer = read(route, json.dumps({"usage": usage}).encode(), JSON)
    answer.outcome()
    assert isinstance(answer.prompt, PromptUsage)
    assert 0 <= (answer.prompt.cached or 0) <= answer.prompt.tokens <= 10**7
