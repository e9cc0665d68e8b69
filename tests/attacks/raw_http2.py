"""HTTP/2 by hand (RFC 9113), to do what no gRPC library does: reset at once, half open a call, read nothing."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
"""The setting of this number (RFC 9113, 6.5.2)."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame; names are the setting's identifiers, written out (`window=0`)."""
    identifiers = {"window": INITIAL_WINDOW_SIZE}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", identifiers[k], v) for k, v in values.items()))


def headers(path: str, **more: str) -> bytes:
    """A header block of a gRPC call, without Huffman and without the table (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    block = b""
    for name, value in (fields | {k.replace("_", "-"): v for k, v in more.items()}).items():
        block += b"\x00" + _text(name) + _text(value)
    return block


def _text(text: str) -> bytes:
    """A string of up to 126 bytes as HPACK has it."""
    raw = text.encode()
    assert len(raw) < 127
    return bytes([len(raw)]) + raw


def message(payload: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC message: a flag, its length, itself."""
    return struct.pack(">BI", compressed, len(payload)) + payload


class Connection:
    """A connection that says just what it is told."""

    def __init__(self, target: str, **setting: int) -> None:
        host, _, port = target.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.socket.sendall(PREFACE + settings(**setting))
        self._next = 1

    def open(self, path: str, *, end: bool = False, **more: str) -> int:
        """Open a call and give its stream's number."""
        stream, self._next = self._next, self._next + 2
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.socket.sendall(frame(HEADERS, flags, stream, headers(path, **more)))
        return stream

    def send(self, stream: int, payload: bytes, *, end: bool = True) -> None:
        """Send a message of at most 16 KB."""
        self.socket.sendall(frame(DATA, END_STREAM if end else 0, stream, message(payload)))

    def begin(self, stream: int, size: int) -> None:
        """Promise a message of so many bytes, and send none of them."""
        self.socket.sendall(frame(DATA, 0, stream, struct.pack(">BI", 0, size)))

    def reset(self, stream: int) -> None:
        """Cancel a call."""
        self.socket.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def drop_input(self) -> None:
        """Throw away what has come, without waiting."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(5)

    def close(self) -> None:
        """End it."""
        self.socket.close()
