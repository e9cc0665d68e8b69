"""Events of a stream, however it is cut: what comes as an event by itself is read as what comes in bytes."""

import pytest

from rankd.proxy.event_stream import EventStream

PIECES = {
    "events": [b"data: a\n\n", b"data: b\n\n"],
    "data in two lines": [b"data: a\n", b"data: b\n\n", b"data: c\n\n"],
    "two lines at once": [b"data: a\n\n", b"data: b\ndata: c\n\n"],
    "the other end of a line": [b"data: a\r\n\r\n", b"data: b\n\n", b"data: c\r\r", b"data: d\n\n"],
    "a carriage return within": [b"data: a\n\n", b"data: b\rdata: c\n\n", b"data: d\n\n"],
    "a line that has begun": [b"data: a\n\n", b"id: ", b"data: b\n\n", b"data: c\n\n"],
    "half an end": [b"data: a\n\n", b"data: b\r", b"\n\r\n", b"data: c\n\n"],
    "two at once": [b"data: a\n\n", b"data: b\n\ndata: c\n\n", b"\n\ndata: d\n\n"],
    "other fields": [b"event: x\ndata: a\n\n", b": ping\n\n", b"data: b\n\n"],
    "a mark at its beginning": [b"\xef\xbb\xbfdata: a\n\n", b"data: \xef\xbb\xbfb\n\n"],
    "without an end": [b"data: a\n\n", b"data: b\n\n", b"data: c"],
}


def told(pieces, limit=1000):
    """The data of events, and whether one was dropped."""
    stream = EventStream(limit)
    data = [event for piece in pieces for event in stream.feed(piece)]
    return data + stream.end(), stream.dropped


@pytest.mark.parametrize("name", PIECES)
def test_how_it_is_cut_does_not_matter(name):
    """Byte by byte, as it came, or in one."""
    whole = b"".join(PIECES[name])
    assert told(PIECES[name]) == told([whole]) == told([bytes([byte]) for byte in whole])
    assert told(PIECES[name])[0]


@pytest.mark.parametrize("size", range(20, 41))
def test_an_event_by_itself_may_be_as_large_as_any(size):
    """Within the limit it is read, beyond it dropped, and those after it are read."""
    event = b"data: " + b"x" * size + b"\n\n"
    pieces = [b"data: a\n\n", event, b"data: b\n\n"]
    assert told(pieces, 100) == told([b"".join(pieces)], 100)
