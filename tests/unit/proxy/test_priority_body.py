"""The proxy's text surgery: a priority in a body, and which header fields pass."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.proxy import headers
from rankd.proxy.priority_body import MOST_HEAD, insertion, is_open, with_priority

BLANK = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("priority"), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', b'{"priority":7,"a": 1}'),
        (b" \n{ \t}", b' \n{"priority":7 \t}'),
        (b'\xef\xbb\xbf{"a":1}', b'\xef\xbb\xbf{"priority":7,"a":1}'),
        (b'{"priority": null, "a": 1}', b'{"priority": 7, "a": 1}'),
        (b'{"a": {"priority": 1}}', b'{"priority":7,"a": {"priority": 1}}'),
        (b'{"priority":1,"priority" : "x" }', b'{"priority":7,"priority" : 7 }'),
        (b'{"a": "\\"priority\\": 5", "pr\\u0069ority": [1, {"x": 2}]}',
         b'{"a": "\\"priority\\": 5", "pr\\u0069ority": 7}'),
        ('{"a": "ü", "priority": 2}'.encode(), '{"a": "ü", "priority": 7}'.encode()),
        ('{"a": 1}'.encode("utf-16-be"), '{"priority":7,"a": 1}'.encode("utf-16-be")),
        ('\ufeff{"priority": 1}'.encode("utf-16-le"), '\ufeff{"priority": 7}'.encode("utf-16-le")),
        (b'{"priority": 1, broken', b'{"priority":7,"priority": 1, broken'),
        *((body, body) for body in (b"", b"[]", b"null", b"[{}]", b'"{"', b"{1: 2}", b"{", b"\xff\xfe", b"\x00" * 9)),
        (b"{{", b"{{"),
    ],
)  # fmt: skip
def test_a_priority_is_written_and_no_other_byte_changes(body, expected):
    """Behind the first brace, or in the place of those that are there; what is no object stays as it is."""
    assert with_priority(body, 7) == expected


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5) | st.just("priority"), VALUES), BLANK, st.integers(-(2**63), 2**63))
def test_an_engine_reads_the_same_with_another_priority(data, blank, priority):
    """What a parser sees is what was sent, and the priority."""
    body = (blank + json.dumps(data, indent=len(blank) or None)).encode()
    assert json.loads(with_priority(body, priority)) == data | {"priority": priority}


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5), VALUES), BLANK, st.booleans())
def test_a_head_is_enough_to_tell_the_place(data, blank, mark):
    """However little comes at a time, the place is the same, and asking for more ends."""
    body = b"\xef\xbb\xbf" * mark + (blank + json.dumps(data)).encode()
    size = 0
    while is_open(body[:size]):
        size += 1
    assert size <= len(blank) + 6
    at, member = insertion(body[:size], 5)
    assert json.loads((body[:at] + member + body[at:]).decode("utf-8-sig")) == data | {"priority": 5} | data


def test_blank_bytes_without_end_are_not_read_without_end():
    """A body may begin with megabytes of blanks: then it gets no priority, and no memory."""
    assert is_open(b" " * MOST_HEAD)
    assert not is_open(b" " * (MOST_HEAD + 1))


def test_fields_of_one_connection_stay_there():
    """Also those that Connection names; everything else passes, in its order, twice where it came twice."""
    fields = [
        (b"host", b"a"), (b"connection", b"close, X-Mine"), (b"x-mine", b"1"), (b"accept", b"x"), (b"te", b"trailers"),
        (b"x-twice", b"1"), (b"keep-alive", b"5"), (b"x-twice", b"2"), (b"transfer-encoding", b"chunked"),
        (b"expect", b"100-continue"), (b"authorization", b"Bearer k"), (b"x-forwarded-for", b"9.9.9.9"),
    ]  # fmt: skip
    assert headers.to_engine(fields, "1.2.3.4", "http") == [
        (b"accept", b"x"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"authorization", b"Bearer k"),
        (b"x-forwarded-for", b"9.9.9.9, 1.2.3.4"), (b"x-forwarded-host", b"a"), (b"x-forwarded-proto", b"http"),
        (b"via", b"1.1 rankd"),
    ]  # fmt: skip
