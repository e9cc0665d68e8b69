"""Messages between two processes over pipes: their length in 8 bytes, little-endian, then their bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO

_LENGTH = struct.Struct("<Q")


def write_frame(stream: BinaryIO, message: bytes) -> None:
    """Send a message.

    Raises:
        OSError: nobody reads any more.
    """
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes:
    """Wait for a message; empty where the other side ended, within one too."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else b""
