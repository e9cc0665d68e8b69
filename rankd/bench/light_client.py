"""A gRPC client that costs little: one connection, frames written and read by hand, no library in between.

A client library takes as much of a core for a call as the daemon, or more, and so measures itself. This one does what a
measurement needs and no more: unary calls over one plain-text connection, with flow control, deadlines and statuses.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rankd.errors import RankdError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_ACK = _END_STREAM = 1
_END_HEADERS, _PADDED, _PRIORITY = 4, 8, 32
_TABLE_SIZE, _PUSH, _INITIAL_WINDOW = 1, 2, 4
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_FRAME = 16_384
"""Bytes of a frame that every peer takes."""
_CANCEL = struct.pack(">I", 8)
_STATUS = b"grpc-status"
_STATIC_ENTRIES = 61
"""Entries of HPACK's static table (RFC 7541, appendix A)."""


@dataclass(slots=True)
class EndedCall:
    """How a call ended."""

    number: int
    """Of the call, in the order in which calls were begun."""
    status: int | None
    """gRPC's; None where the call was over its deadline, by this side's clock."""
    body: bytes
    seconds: float
    """From when it was begun until it was read."""


@dataclass(slots=True)
class _Open:
    """A call under way."""

    number: int
    began: float
    body: bytes = b""
    status: int | None = None


class LightClient:
    """Calls one method over one connection. Not safe across threads."""

    def __init__(self, target: str, path: str, timeout: float | None = None) -> None:
        """Connect to HOST:PORT.

        Args:
            target: where the server listens.
            path: of the method, ``/package.Service/Method``.
            timeout: seconds; what a call tells as its deadline, and waits for. None tells and waits for ever.

        Raises:
            OSError: nobody listens there.
        """
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timeout = timeout
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", target),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        if timeout is not None:
            headers.append(("grpc-timeout", f"{round(timeout * 1000)}m"))
        # The first call puts its headers into the server's table, all others name them: as every client does.
        self._first_headers = b"".join(b"\x40" + _text(name) + _text(value) for name, value in headers)
        self._headers = bytes(0x80 | _STATIC_ENTRIES + len(headers) - n for n in range(len(headers)))
        self._next_id = 1
        self._numbers = 0
        self._open: dict[int, _Open] = {}
        self._window, self._stream_window = _FIRST_WINDOW, _FIRST_WINDOW
        self._unacknowledged = 0
        self._received = b""
        self._block: tuple[int, bytes] | None = None
        self._ends = False
        self._statuses: dict[bytes, int | None] = {}
        self._ended: list[EndedCall] = []
        settings = struct.pack(">HIHIHI", _TABLE_SIZE, 0, _PUSH, 0, _INITIAL_WINDOW, _LARGEST_WINDOW)
        grow = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, grow))

    @property
    def open_calls(self) -> int:
        """Calls under way."""
        return len(self._open)

    @property
    def begun(self) -> int:
        """Calls that were begun so far: the number of the next one."""
        return self._numbers

    def begin(self, messages: Sequence[bytes]) -> int:
        """Begin a call for each message, as far as flow control lets; say how many were begun."""
        out = []
        now = time.perf_counter()
        for message in messages:
            size = len(message) + 5
            if size > min(self._window, self._stream_window):
                break
            self._window -= size
            headers = self._headers if self._next_id > 1 else self._first_headers
            data = struct.pack(">BI", 0, len(message)) + message
            out.append(_frame(_HEADERS, _END_HEADERS, self._next_id, headers) + _data_frames(self._next_id, data))
            self._open[self._next_id] = _Open(self._numbers, now)
            self._next_id += 2
            self._numbers += 1
        if out:
            self._socket.sendall(b"".join(out))
        return len(out)

    def wait(self, seconds: float | None) -> list[EndedCall]:
        """What ended; waits for the first of them, for at most ``seconds`` or until a deadline.

        Raises:
            RankdError: the server ended the connection.
        """
        if self._timeout is not None and self._open:
            left = next(iter(self._open.values())).began + self._timeout - time.perf_counter()
            seconds = max(0.0, left if seconds is None else min(seconds, left))
        if select.select([self._socket], [], [], seconds)[0]:
            data = self._socket.recv(2**18)
            if not data:
                raise RankdError("the server closed the connection")
            self._take(data, time.perf_counter())
        if self._timeout is not None:
            self._end_late()
        ended, self._ended = self._ended, []
        return ended

    def _end_late(self) -> None:
        """Take back calls that are over their deadline; all have the same, so the oldest is first."""
        assert self._timeout is not None
        now = time.perf_counter()
        late = []
        for identity, call in self._open.items():
            if now - call.began <= self._timeout:
                break
            late.append(identity)
        for identity in late:
            self._finish(identity, None, now)
        if late:
            self._socket.sendall(b"".join(_frame(_RESET, 0, identity, _CANCEL) for identity in late))

    def _finish(self, identity: int, status: int | None, now: float) -> None:
        call = self._open.pop(identity, None)
        if call is not None:
            seconds = now - call.began
            if self._timeout is not None and seconds > self._timeout:
                status = None
            self._ended.append(EndedCall(call.number, status, call.body[5:], seconds))

    def _take(self, data: bytes, now: float) -> None:
        """Read the frames that are whole."""
        data = self._received + data
        at, end = 0, len(data)
        answers = []
        while end - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if end - at < 9 + size:
                break
            kind, flags = data[at + 3], data[at + 4]
            identity = int.from_bytes(data[at + 5 : at + 9], "big") & _LARGEST_WINDOW
            payload = data[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == _DATA:
                self._unacknowledged += size
                if (call := self._open.get(identity)) is not None:
                    call.body += payload[1 : size - payload[0]] if flags & _PADDED else payload
                if flags & _END_STREAM:
                    self._finish(identity, 2, now)  # no trailers: UNKNOWN
            elif kind in (_HEADERS, _CONTINUATION):
                self._take_headers(kind, flags, identity, payload, now)
            elif kind == _RESET:
                self._finish(identity, 1, now)
            else:
                answers.append(self._control(kind, flags, identity, payload))
        self._received = data[at:]
        if self._unacknowledged > _LARGEST_WINDOW // 2:
            answers.append(_frame(_WINDOW, 0, 0, struct.pack(">I", self._unacknowledged)))
            self._unacknowledged = 0
        if any(answers):
            self._socket.sendall(b"".join(answers))

    def _control(self, kind: int, flags: int, identity: int, payload: bytes) -> bytes:
        """Settings, pings and windows; what to answer."""
        if kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW:
                    self._stream_window = value
            return _frame(_SETTINGS, _ACK, 0)
        if kind == _PING and not flags & _ACK:
            return _frame(_PING, _ACK, 0, payload)
        if kind == _WINDOW and identity == 0:
            self._window += int.from_bytes(payload, "big") & _LARGEST_WINDOW
        if kind == _GOAWAY:
            raise RankdError(f"the server ended the connection: {payload[8:].decode('ascii', 'replace')}")
        return b""

    def _take_headers(self, kind: int, flags: int, identity: int, payload: bytes, now: float) -> None:
        if kind == _HEADERS:
            if flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if flags & _PRIORITY:
                payload = payload[5:]
            self._block = identity, payload
            self._ends = bool(flags & _END_STREAM)
        elif self._block is not None:
            self._block = identity, self._block[1] + payload
        if flags & _END_HEADERS and self._block is not None:
            block, self._block = self._block[1], None
            if self._ends:
                if block not in self._statuses:
                    # The same bytes always say the same, as the table is of no size.
                    self._statuses[block] = _status_of(block)
                status = self._statuses[block]
                self._finish(identity, 2 if status is None else status, now)

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._socket.close()


def _frame(kind: int, flags: int, identity: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, identity) + payload


def _data_frames(identity: int, data: bytes) -> bytes:
    """A message and the end of what is sent, in frames of what every server takes."""
    last = max(0, len(data) - 1) // _FRAME * _FRAME
    before = [_frame(_DATA, 0, identity, data[at : at + _FRAME]) for at in range(0, last, _FRAME)]
    return b"".join(before) + _frame(_DATA, _END_STREAM, identity, data[last:])


def _text(value: str) -> bytes:
    """A text of HPACK, without Huffman's code; less than 127 bytes."""
    data = value.encode("ascii")
    assert len(data) < 0x7F
    return bytes((len(data),)) + data


def _status_of(block: bytes) -> int | None:
    """The ``grpc-status`` of a block of headers; None where it has none.

    Only what a server sends to whom has no table and asks for no Huffman code: numbers of the static table, and texts.
    """
    at, end = 0, len(block)
    while at < end:
        first = block[at]
        if first & 0x80:  # name and value by number
            _, at = _number(block, at, 7)
            continue
        if first & 0xE0 == 0x20:  # the size of the table, which stays none
            _, at = _number(block, at, 5)
            continue
        name: bytes = b""
        index, at = _number(block, at, 6 if first & 0x40 else 4)
        if index == 0:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if name == _STATUS:
            return int(value)
    return None


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number that begins in the last ``bits`` of a byte, and where it ends."""
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A text, and where it ends. One in Huffman's code is none that is looked for here, and left as it is."""
    size, after = _number(block, at, 7)
    return block[after : after + size], after + size


def closed_loop(client: LightClient, messages: Sequence[bytes], in_flight: int, seconds: float) -> Iterator[EndedCall]:
    """Keep ``in_flight`` calls under way for some seconds, the messages in turn; what ends, as it ends."""
    end = time.perf_counter() + seconds
    sent = 0
    while time.perf_counter() < end:
        wanted = in_flight - client.open_calls
        sent += client.begin([messages[(sent + n) % len(messages)] for n in range(wanted)])
        yield from client.wait(1.0)
    while client.open_calls:
        yield from client.wait(1.0)


def open_loop(
    client: LightClient, messages: Iterator[bytes], times: Iterator[float], on_lag: Callable[[float], None]
) -> Iterator[EndedCall]:
    """Begin a call at each of ``times``, whatever comes back; what ends, as it ends.

    Args:
        client: with a timeout.
        messages: one for each time.
        times: on ``time.perf_counter``, rising.
        on_lag: told how late each call was begun, seconds.
    """
    due = next(times, None)
    while due is not None or client.open_calls:
        now = time.perf_counter()
        if due is None or due > now:
            yield from client.wait(None if due is None else due - now)
            continue
        if client.begin([next(messages)]):
            on_lag(now - due)
            due = next(times, None)
        else:
            yield from client.wait(0.001)
