"""Writing a ``priority`` into a JSON object's text: every other byte stays as it was. No I/O.

Nothing is parsed and written anew: an inserted member goes right behind the first brace, so that of a body that comes
in pieces only the head need be seen. Where a name comes twice, engines' parsers take the last: a priority of the
client's own, further back, is what counts.
"""

from __future__ import annotations

import json
import re

NAME = "priority"
MOST_HEAD = 65_536
"""Bytes before the first member that are looked through."""
_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\n\r]*\{([ \t\n\r]*)(["}])')
_BEGUN = re.compile(rb"(?:\xef(?:\xbb(?:\xbf)?)?)?[ \t\n\r]*(?:\{[ \t\n\r]*)?")
_TEXT_HEAD = re.compile(r'\ufeff?[ \t\n\r]*\{([ \t\n\r]*)(["}])')
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_NEXT = re.compile(r'[ \t\n\r]*(?:,[ \t\n\r]*(?=")|\})')
_DECODER = json.JSONDecoder()


def is_open(head: bytes) -> bool:
    """Whether more bytes are needed to tell where a member goes."""
    return len(head) <= MOST_HEAD and _BEGUN.fullmatch(head) is not None


def insertion(head: bytes, priority: int) -> tuple[int, bytes] | None:
    """Where in a body's head to put what; None where it is no JSON object.

    Args:
        head: enough of the beginning, as ``is_open`` tells.
        priority: any integer.
    """
    found = _HEAD.match(head)
    if found is None:
        return None
    return found.start(1), _member(priority, found[2] == b'"').encode()


def with_priority(body: bytes, priority: int) -> bytes:
    """A whole body with its priority, in place of those that it has; as it was where it is no JSON object."""
    encoding = _encoding(body)
    if encoding == "utf-8" and b"priority" not in body and b"\\u" not in body:
        place = insertion(body, priority)
        return body if place is None else body[: place[0]] + place[1] + body[place[0] :]
    try:
        return _with_priority(body.decode(encoding, "surrogatepass"), priority).encode(encoding, "surrogatepass")
    except UnicodeDecodeError:
        return body


def _with_priority(text: str, priority: int) -> str:
    head = _TEXT_HEAD.match(text)
    if head is None:
        return text
    spans = _values(text, head.end() - 1)
    if not spans:
        return text[: head.start(1)] + _member(priority, head[2] == '"') + text[head.start(1) :]
    for start, end in reversed(spans):
        text = text[:start] + str(priority) + text[end:]
    return text


def _member(priority: int, others: bool) -> str:
    return f'"{NAME}":{priority}' + ("," if others else "")


def _values(text: str, at: int) -> list[tuple[int, int]]:
    """Where the values of an object's own priorities stand; none where it is not valid.

    Args:
        text: with an object.
        at: of the object's first name, or of its end.
    """
    spans: list[tuple[int, int]] = []
    try:
        while text[at] == '"':
            name, at = _DECODER.raw_decode(text, at)
            colon = _COLON.match(text, at)
            if colon is None:
                return []
            _, at = _DECODER.raw_decode(text, colon.end())
            if name == NAME:
                spans.append((colon.end(), at))
            following = _NEXT.match(text, at)
            if following is None:
                return []
            if text[following.end() - 1] == "}":
                return spans
            at = following.end()
    except (ValueError, RecursionError, IndexError):
        return []
    return spans


def _encoding(body: bytes) -> str:
    """Of JSON's encodings the one; a byte order mark stays part of the text."""
    found = json.detect_encoding(body)
    if found in {"utf-16", "utf-32"}:
        return found + ("-le" if body.startswith(b"\xff\xfe") else "-be")
    return "utf-8" if found == "utf-8-sig" else found
