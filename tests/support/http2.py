"""HTTP/2 frame by frame, for callers that no gRPC library would let one be."""

import select
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
_INITIAL_WINDOW = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def message(data):
    """A message as gRPC frames it."""
    return b"\0" + struct.pack(">I", len(data)) + data


def _literal(name, value):
    """A header that no table has, without Huffman coding."""
    name, value = name.encode(), value.encode()
    assert max(len(name), len(value)) < 127
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def headers(method, metadata=()):
    """What opens a call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", f"/{method}"), (":authority", "a")]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), *metadata]
    return b"".join(_literal(*each) for each in fields)


def connect(address, source=None):
    """Connect; with ``source`` from that address, which connections to elsewhere may have, too."""
    sock = socket.socket(socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source is not None:
        sock.bind(source)
    sock.connect(address)
    return sock


class Connection:
    """One connection, which reads only when it is told to."""

    def __init__(self, target, *, window=None, timeout=20, source=None):
        host, _, port = target.rpartition(":")
        self.socket = connect((host, int(port)), source)
        self.socket.settimeout(timeout)
        self.stream = -1
        self.closed = set()
        """Streams that the server ended."""
        self.answered = set()
        """Streams that got an answer, or a part of it."""
        self._initial = self._window = 65535
        self._windows = {}
        settings = b"" if window is None else struct.pack(">HI", _INITIAL_WINDOW, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        while self.take() != SETTINGS:  # grpc waits until its own are acknowledged
            pass

    def take(self):
        """Read a frame and do what it asks for; gives its kind."""
        head = self._exactly(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        payload = self._exactly(int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW:
            more = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] = self._windows.get(stream, self._initial) + more
            else:
                self._window += more
        elif kind == RST or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self.closed.add(stream)
        elif kind == DATA:
            self.answered.add(stream)
        elif kind == GOAWAY:
            raise ConnectionError("going away")
        return kind

    def _settings(self, payload):
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == _INITIAL_WINDOW:
                for stream in self._windows:
                    self._windows[stream] += value - self._initial
                self._initial = value

    def take_all(self):
        """Read what is there."""
        while select.select([self.socket], [], [], 0)[0]:
            self.take()

    def take_to_the_end(self):
        """Read until the server closes the connection, which raises an OSError."""
        while True:
            self.take()

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def open(self, method, metadata=(), data=None):
        """Open a call, with a whole request or without any; gives its stream."""
        self.stream += 2
        out = frame(HEADERS, END_HEADERS, self.stream, headers(method, metadata))
        if data is not None:
            out += frame(DATA, END_STREAM, self.stream, message(data))
        self.socket.sendall(out)
        return self.stream

    def begin(self, stream, size):
        """Say that a message of so many bytes comes."""
        self._data(stream, b"\0" + struct.pack(">I", size))

    def _data(self, stream, data):
        self._window -= len(data)
        self._windows[stream] = self._windows.get(stream, self._initial) - len(data)
        self.socket.sendall(frame(DATA, 0, stream, data))

    def feed(self, streams, size, data=None):
        """Send so many bytes more on each of the streams, in turns, as the server lets us; gives what was sent."""
        left, sent = dict.fromkeys(streams, size), 0
        while left := {s: n for s, n in left.items() if n and s not in self.closed}:
            before = sent
            for stream in left:
                part = min(left[stream], 16384, self._window, self._windows.get(stream, self._initial))
                if part > 0:
                    at = size - left[stream]
                    self._data(stream, b" " * part if data is None else data[at : at + part])
                    left[stream] -= part
                    sent += part
            if sent == before and not select.select([self.socket], [], [], 2)[0]:
                break  # the server does not want more
            self.take_all()
        return sent

    def end(self, stream):
        self.socket.sendall(frame(DATA, END_STREAM, stream))

    def reset(self, stream):
        self.socket.sendall(frame(RST, 0, stream, struct.pack(">I", 8)))

    def close(self):
        self.socket.close()
