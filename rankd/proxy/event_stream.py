"""Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them. No I/O.

Read more kindly than there: the last event counts though its end is missing, and an object of JSON ends an event though
no blank line follows, as some servers leave both out.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_LINE = 64
"""Bytes that a line takes in memory beside its own."""


class EventStream:
    """Takes a stream however it is cut, gives the data of its events. An event beyond ``limit`` bytes is dropped."""

    def __init__(self, limit: int) -> None:
        """Nothing came yet."""
        self._limit = limit
        self._line = bytearray()
        """The beginning of a line whose end has not come."""
        self._data: list[bytes] = []
        self._size = 0
        self._at_start, self._after_cr, self._skipping = True, False, False
        self.dropped = False
        """An event was too large."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of events that end in it."""
        if (
            chunk[:5] == b"data:"
            and chunk[-2:] == b"\n\n"
            and chunk.count(b"\n") == 2
            and b"\r" not in chunk
            and len(chunk) + _LINE <= self._limit
            and not (self._data or self._line or self._at_start or self._after_cr or self._skipping)
        ):
            return [chunk[5:-2]]  # an event by itself, as nearly all come
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")  # the second half of a line's end
        lines = chunk.splitlines()
        if not lines:
            return []
        rest = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        self._after_cr = chunk.endswith(b"\r")
        if lines and (self._at_start or self._line or self._skipping):
            self._take_first(lines)
        events: list[bytes] = []
        for line in lines:
            if line[:5] == b"data:":
                self._take_data(line, events)
            elif not line and self._data:
                events.append(self._event())
        if rest and not self._skipping:
            self._keep(rest)
        return events

    @property
    def held(self) -> int:
        """Bytes that are kept of what was not ended."""
        return len(self._line) + self._size

    def clear(self) -> None:
        """Keep nothing of it."""
        self._line.clear()
        self._drop()

    def end(self) -> list[bytes]:
        """The data of what was never ended, as nothing more will come."""
        return self.feed(b"\n\n")

    def _take_first(self, lines: list[bytes]) -> None:
        """The first line of a chunk has its beginning in others, or is the first of all."""
        if self._skipping:
            self._skipping = False
            lines[0] = b":"
        elif self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)

    def _take_data(self, line: bytes, events: list[bytes]) -> None:
        if self._data and _is_another(self._data[-1], line):
            events.append(self._event())
        self._data.append(line[5:])
        self._size += len(line) + _LINE
        if self._size > self._limit:
            self._drop()

    def _keep(self, rest: bytes) -> None:
        """The beginning of a line."""
        self._line += rest
        if len(self._line) + self._size > self._limit:
            self._line.clear()
            self._skipping = True
            self._drop()

    def _event(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data, self._size = [], 0
        return data

    def _drop(self) -> None:
        self._data, self._size, self.dropped = [], 0, True


def _is_another(before: bytes, line: bytes) -> bool:
    """Whether a line of data begins an event though none was ended: in JSON no object follows another like this."""
    return before.rstrip().endswith(b"}") and line[5:].lstrip().startswith((b"{", b"[DONE]"))
