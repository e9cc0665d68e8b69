"""What reading an answer along keeps in memory: bounded, and asked for."""

import itertools
import json

import pytest
from rankd_client.integration import Ending, Route
from support.answers import JSON, SSE, USAGE, chat, events, read, stream

from rankd.proxy.answer_reader import AnswerReader

FIVE = (5, Ending.COMPLETE)
STOPPED = stream(chat("stop"), USAGE)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (events(chat(usage={"completion_tokens": 3})) + b"data: " + b"x" * 200_000 + b"\n\n" + STOPPED, SSE),
        (events(chat(usage={"completion_tokens": 3})) + b"data: x\n" * 10_000 + b"\n\n" + STOPPED, SSE),
        (json.dumps(chat("stop", pad="x" * 200_000, usage={"completion_tokens": 3})).encode(), JSON),
    ],
)
def test_memory_is_asked_for_and_done_without(text, kind):
    """Where there is none the answer is read no further; what is little is always kept."""
    for room, cut in itertools.product((0, 2**20), (1000, None)):
        taken = []

        def take(more, taken=taken, room=room):
            taken.append(more)
            return sum(taken) <= room

        answer = AnswerReader(Route.CHAT, kind=kind, limit=2**20, take_memory=take)
        for at in range(0, len(text), cut or len(text)):
            answer.feed(text[at : at + (cut or len(text))])
        enough = room == 2**20
        assert sum(taken) <= room + 65_536
        if kind == JSON:
            assert (answer.outcome(), answer.cause) == (((3, Ending.COMPLETE), "") if enough else (None, "no_memory"))
        else:
            assert answer.outcome() == ((5, Ending.COMPLETE) if enough else (3, Ending.UNFINISHED))
    assert read(Route.CHAT, STOPPED, take_memory=lambda _: False).outcome() == FIVE


def test_memory_is_bounded_whatever_an_engine_sends():
    """A line, an event or a body without end are not kept, and what comes after a line or an event is read again."""
    for junk in (b"x" * 100, b"data: " + b"x" * 90, b"data: x\n", b"data:\n", b"\r", b": x\n"):
        answer = AnswerReader(Route.CHAT, kind=SSE, limit=1000)
        for _ in range(300):
            answer.feed(junk)
            held = answer._events._line, answer._events._data
            assert len(held[0]) + sum(64 + len(data) for data in held[1]) <= 1000
        answer.feed(b"\n\n" + stream(chat("stop"), USAGE))
        assert answer.outcome() == (5, Ending.COMPLETE)
    whole = AnswerReader(Route.CHAT, kind=JSON, limit=1000)
    for _ in range(100):
        whole.feed(b" " * 100)
        assert len(whole._body) <= 1000
    assert (whole.outcome(), whole.cause) == (None, "too_large")
