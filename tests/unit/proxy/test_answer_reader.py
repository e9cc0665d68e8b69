"""What an answer says of itself while it passes, and for what cause it does not."""

import gzip
import itertools
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import Ending, Route
from support.answers import JSON, LIMIT, SSE, USAGE, chat, events, read, stream
from support.examples import examples

from rankd.proxy.answer_reader import AnswerReader

FIVE = (5, Ending.COMPLETE)
STOPPED = stream(chat("stop"), USAGE)
WHOLE_STREAMS = {
    "stop": (Route.CHAT, stream(chat(), chat("stop"), USAGE), FIVE),
    "length": (Route.CHAT, stream(chat(usage=None), chat("length", usage={"completion_tokens": 9})), (9, Ending.LIMIT)),
    "tools": (Route.CHAT, stream(chat(), chat("tool_calls"), USAGE), FIVE),
    "filter": (Route.CHAT, stream(chat(), chat("content_filter"), USAGE), (5, Ending.STOPPED)),
    "in capitals": (Route.CHAT, stream(chat("STOP"), USAGE), FIVE),
    "never heard of": (Route.CHAT, stream(chat("because"), USAGE), (5, Ending.UNKNOWN)),
    "null": (Route.CHAT, stream(chat(), chat(), USAGE), (5, Ending.NOT_GIVEN)),
    "empty": (Route.CHAT, stream(chat(""), chat(""), USAGE), (5, Ending.NOT_GIVEN)),
    "empty afterwards": (Route.CHAT, stream(chat("stop"), chat("", usage={"completion_tokens": 5})), FIVE),
    "an object": (Route.CHAT, stream(chat({"type": "length", "length": 5}), USAGE), (5, Ending.LIMIT)),
    "whole numbers as floats": (Route.CHAT, stream(chat("stop"), {"usage": {"completion_tokens": 5.0}}), FIVE),
    "blanks in JSON": (
        Route.CHAT,
        STOPPED.replace(b'":', b'" : '),
        FIVE,
    ),
    "the API's other names": (Route.CHAT, stream(chat("stop"), {"usage": {"output_tokens": 5}}), FIVE),
    "without [DONE]": (Route.CHAT, events(chat(), chat("stop"), USAGE), FIVE),
    "without [DONE] and reason": (Route.CHAT, events(chat(), USAGE), (5, Ending.NOT_GIVEN)),
    "a count at the end alone": (
        Route.CHAT, events(chat(usage=None), chat(usage={"completion_tokens": 5})), (5, Ending.NOT_GIVEN)
    ),
    "counts along, without end": (
        Route.CHAT, events(*[chat(usage={"completion_tokens": 5})] * 2), (5, Ending.UNFINISHED)
    ),
    "CRLF": (Route.COMPLETIONS, STOPPED.replace(b"\n", b"\r\n"), FIVE),
    "CR": (Route.CHAT, STOPPED.replace(b"\n", b"\r"), FIVE),
    "a last line without end": (Route.CHAT, events(chat("stop"), USAGE)[:-2], FIVE),
    "a last event without end": (Route.CHAT, events(chat("stop"), USAGE)[:-1], FIVE),
    "one line that ends in CR": (Route.CHAT, events(chat("stop") | USAGE)[:-2] + b"\r", (5, Ending.NOT_GIVEN)),
    "no blank lines": (Route.CHAT, STOPPED.replace(b"\n\n", b"\n"), FIVE),
    "no blank after the colon": (Route.CHAT, STOPPED.replace(b"data: ", b"data:"), FIVE),
    "a byte order mark": (
        Route.CHAT, b"\xef\xbb\xbf" + events(chat("stop", usage={"completion_tokens": 5})), FIVE
    ),
    "comments and other fields": (
        Route.CHAT,
        b": hi\n\nretry: 5\nid: 1\nevent: x\n" + STOPPED.replace(b"\n\n", b"\n: ping\n\n: ping\n\n"),
        FIVE,
    ),
    "data over several lines": (
        Route.CHAT,
        b"".join(
            b"".join(b"data: %s\n" % line for line in json.dumps(e, indent=1).encode().split(b"\n")) + b"\n"
            for e in (chat("stop"), USAGE)
        ),
        FIVE,
    ),
    "an event that is too large": (
        Route.CHAT,
        events(chat(usage={"completion_tokens": 1}), chat(pad="x" * LIMIT)) + STOPPED,
        FIVE,
    ),
    "an error after counts": (
        Route.CHAT, stream(chat(usage={"completion_tokens": 3}), {"error": {"message": "x"}}), (3, Ending.FAILED)
    ),
    "counts, and no end": (Route.CHAT, events(chat(usage={"completion_tokens": 3})), (3, Ending.UNFINISHED)),
    "half an event at the end": (
        Route.CHAT, events(chat(usage={"completion_tokens": 3})) + b'data: {"usage": {"compl', (3, Ending.UNFINISHED)
    ),
    "responses": (
        Route.RESPONSES,
        events({"response": {"status": "in_progress", "usage": None}},
               {"response": {"status": "completed", "usage": {"output_tokens": 3}}}),
        (3, Ending.COMPLETE),
    ),
    "responses, cut": (
        Route.RESPONSES,
        events({"response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
                             "usage": {"output_tokens": 3}}}),
        (3, Ending.LIMIT),
    ),
    "responses, filtered": (
        Route.RESPONSES,
        events({"response": {"status": "incomplete", "incomplete_details": {"reason": "content_filter"},
                             "usage": {"output_tokens": 3}}}),
        (3, Ending.STOPPED),
    ),
    "responses, failed": (
        Route.RESPONSES,
        events({"response": {"status": "failed", "error": {"code": "x"}, "usage": {"output_tokens": 3}}}),
        (3, Ending.FAILED),
    ),
    "messages": (
        Route.MESSAGES,
        b"".join(
            b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode())
            for e in (
                {"type": "message_start", "message": {"usage": {"output_tokens": 1}, "stop_reason": None}},
                {"type": "ping"},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
                {"type": "message_stop"},
            )
        ),
        (4, Ending.COMPLETE),
    ),
    "messages, refused": (
        Route.MESSAGES,
        events({"delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 4}}, {"type": "message_stop"}),
        (4, Ending.STOPPED),
    ),
    "messages, failed": (
        Route.MESSAGES,
        events({"delta": {"stop_reason": None}, "usage": {"output_tokens": 4}}, {"type": "error", "error": {}}),
        (4, Ending.FAILED),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("route", "text", "expected"), list(WHOLE_STREAMS.values()), ids=list(WHOLE_STREAMS))
@pytest.mark.parametrize("codings", [(), (b"gzip",), (b"deflate", b"gzip")], ids=["plain", "gzip", "both"])
def test_a_stream_tells_its_length_and_why_it_ended(route, text, expected, codings):
    """However it is cut, and however it is compressed."""
    for coding in codings:
        text = gzip.compress(text) if coding == b"gzip" else zlib.compress(text)
    for cut in (1, 7, len(text)):
        answer = read(route, text, cut=cut, codings=codings)
        assert answer.outcome() == expected
        assert answer.cause == ""


@pytest.mark.parametrize(
    ("text", "options", "cause"),
    [
        (stream(chat(), chat("stop")), {"asks_usage": False}, "not_asked"),
        (stream(chat(), chat("stop")), {}, "not_sent"),
        (stream({"choices": [], "usage": {"completion_tokens": -5}}), {}, "not_sent"),
        (stream({"choices": [], "usage": {"completion_tokens": True}}), {}, "not_sent"),
        (stream(chat("stop"), {"usage": {"completion_tokens": "5"}}), {}, "not_sent"),
        (stream(chat("stop"), {"usage": {"completion_tokens": 2**40}}), {}, "not_sent"),
        (events(chat("stop")) + b'data: {"usage":{"completion_tok', {}, "not_sent"),
        (events(chat(), chat()), {}, "ended_early"),
        (stream(chat(), {"error": {"message": "x"}}), {}, "error"),
        (events(chat(), {"type": "error"}), {"asks_usage": False}, "error"),
        (events(chat(pad="x" * LIMIT)), {}, "too_large"),
        (b"", {}, "not_events"),
        (b"<html>502</html>\n", {}, "not_events"),
        (b": ping\n\n", {}, "not_events"),
        (stream(chat("stop"), USAGE), {"codings": (b"br",)}, "coding_unknown"),
        (stream(chat("stop"), USAGE), {"codings": (b"gzip", b"zstd")}, "coding_unknown"),
        (stream(chat("stop"), USAGE), {"codings": (b"gzip",)}, "coding_broken"),
        (gzip.compress(stream(chat(), {"p": "x" * 10**7})), {"codings": (b"gzip",)}, "too_large"),
    ],
)  # fmt: skip
def test_why_a_stream_does_not_tell_its_length(text, options, cause):
    """The cause is the true one, so that its remedy is."""
    for cut in (7, None):
        answer = read(Route.CHAT, text, cut=cut, **options)
        assert (answer.outcome(), answer.cause) == (None, cause)


@pytest.mark.parametrize("junk", [b"\x1f\x8b\x08x", gzip.compress(b"x" * 10**7)])
def test_what_was_read_before_the_damage_is_a_bound(junk):
    """What an engine counts along is true, and is not the answer's end."""
    text = gzip.compress(events(chat(usage={"completion_tokens": 3}))) + junk
    assert read(Route.CHAT, text, codings=(b"gzip",)).outcome() == (3, Ending.UNFINISHED)


WHOLE_ANSWERS = [
    (Route.CHAT, chat("stop", usage={"completion_tokens": 8}), (8, Ending.COMPLETE), ""),
    (Route.CHAT, chat(None, usage={"completion_tokens": 8}), (8, Ending.NOT_GIVEN), ""),
    (Route.CHAT, chat("", usage={"completion_tokens": 8}), (8, Ending.NOT_GIVEN), ""),
    (Route.CHAT, chat("COMPLETE", usage={"completion_tokens": 8}), (8, Ending.COMPLETE), ""),
    (Route.CHAT, chat("stop", usage={"completion_tokens": 8}, error={"x": 1}), (8, Ending.FAILED), ""),
    (Route.CHAT, chat("stop"), None, "not_sent"),
    (Route.CHAT, chat("stop", usage=None), None, "not_sent"),
    (Route.RESPONSES, {"status": "completed", "error": None, "usage": {"output_tokens": 8}}, (8, Ending.COMPLETE), ""),
    (Route.RESPONSES, {"status": "queued", "usage": None}, None, "unfinished"),
    (Route.RESPONSES, {"status": "failed", "error": {"code": "x"}}, None, "error"),
    (Route.MESSAGES, {"stop_reason": "max_tokens", "usage": {"output_tokens": 8}}, (8, Ending.LIMIT), ""),
    (Route.CHAT, [1], None, "not_json"),
    (Route.CHAT, {"choices": "x", "usage": 5}, None, "not_sent"),
    (Route.CHAT, {"pad": "x" * LIMIT}, None, "too_large"),
]


@pytest.mark.parametrize(("route", "body", "expected", "cause"), WHOLE_ANSWERS)
@pytest.mark.parametrize("kind", [JSON, "", "text/plain"])
def test_a_whole_answer_tells_its_length(route, body, expected, cause, kind):
    """From its usage, or for what cause it does not."""
    text = json.dumps(body).encode()
    for cut in (9, None):
        answer = read(route, text, kind, cut)
        assert (answer.outcome(), answer.cause) == (expected, cause)
        zipped = read(route, gzip.compress(text), kind, cut, codings=(b"x-gzip",))
        assert (zipped.outcome(), zipped.cause) == (expected, cause)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream", JSON])
@pytest.mark.parametrize("head", [b"", b": ping\n\n", b"event: x\n", b"\xef\xbb\xbf"])
def test_a_stream_that_is_not_called_one_is_read_as_one(kind, head):
    """Some gateways change the type."""
    for cut in (1, None):
        assert read(Route.CHAT, head + stream(chat("stop"), USAGE), kind, cut).outcome() == (5, Ending.COMPLETE)


def test_a_lower_bound_is_no_more_than_what_came():
    """Events less those that bring no token; what the engine counts along; nothing where events are no tokens."""
    counting = AnswerReader(Route.CHAT, kind=SSE, limit=LIMIT)
    for least in (0, 0, 1, 2):
        counting.feed(events(chat()))
        assert counting.lower_bound == least
    counting.feed(b'data: {"usage": {"completion_tokens": 40}}\n\n')
    assert counting.lower_bound == 40
    split = read(Route.CHAT, events(chat(), chat(), chat(), chat()).replace(b'"choices": ', b'"choices":\ndata: '))
    assert split.lower_bound == 2
    assert read(Route.RESPONSES, stream(*[{"type": "response.output_text.delta"}] * 9)).lower_bound == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (stream(chat("stop"), USAGE), True),
        (events(chat("stop"), USAGE), True),
        (stream(chat(), USAGE), True),
        (events(chat(), USAGE), False),
        (events(chat(usage={"completion_tokens": 3})), False),
        (stream(chat("stop")), False),
    ],
)
def test_what_says_its_end_needs_no_more(text, says):
    """A client that hangs up after that has had all of the answer."""
    assert read(Route.CHAT, text).says_its_end is says


SAID = [chat(), chat("stop"), chat("", **USAGE), USAGE, {"error": 1}, {"response": USAGE}]
MARKS = [
    b"data:",
    b"data: ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b": x",
    b"id: y",
    b"[DONE]",
    b"\xef\xbb\xbf",
    b"\xff",
    b"{",
]
PARTS = st.sampled_from(MARKS + [json.dumps(e).encode() for e in SAID])
TEXTS = st.lists(PARTS | st.binary(max_size=5), max_size=30).map(b"".join)


@settings(max_examples=examples(300), deadline=None)
@given(
    text=TEXTS,
    cuts=st.lists(st.integers(1, 40), min_size=1),
    kind=st.sampled_from([SSE, JSON, ""]),
    route=st.sampled_from(list(Route)),
    codings=st.sampled_from([(), (b"gzip",), (b"deflate",)]),
    packed=st.booleans(),
)
def test_whatever_comes_is_read_the_same_however_it_is_cut(text, cuts, kind, route, codings, packed):
    """And nothing that an engine sends raises."""
    if packed and codings:
        text = gzip.compress(text) if codings == (b"gzip",) else zlib.compress(text)
    whole = read(route, text, kind, codings=codings)
    pieces = AnswerReader(route, kind=kind, limit=LIMIT, codings=codings)
    at = 0
    for size in itertools.cycle(cuts):
        if at >= len(text):
            break
        pieces.feed(text[at : at + size])
        at += size
    assert pieces.lower_bound == whole.lower_bound
    assert (pieces.outcome(), pieces.cause) == (whole.outcome(), whole.cause)
    assert pieces.says_its_end == whole.says_its_end
