"""Answers of engines, as OpenAI's chat streams them, and a reader of them."""

import json

from rankd.proxy.answer_reader import AnswerReader

LIMIT = 10_000
SSE, JSON = "text/event-stream; charset=utf-8", "application/json"
DONE = b"data: [DONE]\n\n"


def events(*said):
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in said)


def stream(*said):
    return events(*said) + DONE


def chat(reason=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": reason}]} | more


USAGE = {"choices": [], "usage": {"completion_tokens": 5}}


def read(route, text, kind=SSE, cut=None, **options):
    """A reader that was given all of a text, so many bytes at once."""
    answer = AnswerReader(route, kind=kind, limit=LIMIT, **options)
    for at in range(0, len(text), cut or max(1, len(text))):
        answer.feed(text[at : at + (cut or len(text))])
    return answer
