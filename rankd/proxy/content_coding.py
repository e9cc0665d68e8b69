"""Content codings (RFC 9110, 8.4): what passes compressed is read along decompressed, within bounds. No I/O.

Read are gzip and deflate, which is what Python has, one over the other too. Nothing that passes is changed by it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from rankd.proxy.headers import Fields

READ = frozenset({b"gzip", b"x-gzip", b"deflate"})
"""Codings that are read."""
_MOST_CODINGS = 4
"""One over the other; no server applies so many."""
_PIECE = 65_536
"""Bytes that are decompressed at once."""
_MOST_GROWTH = 100
"""Times that what is read may be larger than what came, beyond the limit: events compress by 20 to 60, bombs by 1,000
a coding."""
_SLICE = 16_384
"""Bytes of input that zlib gets at once."""
_MEMBER = 4096
"""Bytes that a member of gzip counts for, however little is in it: to begin one costs as much."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""``wbits`` of zlib, which say what is around the data."""


class UnreadableError(Exception):
    """What passes cannot be read along; ``cause`` is counted."""

    def __init__(self, cause: str) -> None:
        """``cause``: ``coding_unknown``, ``coding_broken`` or ``too_large``."""
        super().__init__(cause)
        self.cause = cause


def codings_of(fields: Fields) -> tuple[bytes, ...]:
    """Codings of a body in the order in which they were applied; names in lower case."""
    values = [value for key, value in fields if key.lower() == b"content-encoding"]
    named = (name.strip().lower() for value in values for name in value.split(b","))
    return tuple(name for name in named if name not in {b"", b"identity"})


def readable_only(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Fields of a request whose answer is to be read: Accept-Encoding without codings that are not read.

    It stays as it is where nothing would be left that the client takes.
    """
    if not (asked := [value for key, value in fields if key == b"accept-encoding"]):
        return list(fields)  # the engine may send what it likes, and sends no coding
    members = [member.strip() for value in asked for member in value.split(b",") if member.strip()]
    kept = [m for m in members if m.split(b";", 1)[0].strip().lower() in READ | {b"identity"}]
    if len(kept) == len(members):
        return list(fields)
    if all(_refused(member) for member in kept):
        if any(
            member.split(b";", 1)[0].strip().lower() in {b"identity", b"*"} for member in members if _refused(member)
        ):
            return list(fields)
        kept.append(b"identity")
    others = [(key, value) for key, value in fields if key != b"accept-encoding"]
    return [*others, (b"accept-encoding", b", ".join(kept))]


def _refused(member: bytes) -> bool:
    """Whether a member of Accept-Encoding says what is not wanted: a weight of 0."""
    weight = member.lower().partition(b"q=")[2].strip()
    return weight[:1] == b"0" and not weight.strip(b"0.")


class _Budget:
    """Bytes that may still be made of what came, over all codings of a body."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise UnreadableError("too_large")


class _Inflater:
    """Undoes one coding, piece by piece. Members of gzip may follow each other; what else follows is not read."""

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._head = b""
        self._inner: zlib._Decompress | None = None
        self._begun = self._over = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What data holds, in pieces that are small whatever it holds."""
        # In slices: what is left of its input zlib copies with every piece, and after every member.
        for begin in range(0, len(data), _SLICE):
            if self._over:
                return
            yield from self._of_slice(data[begin : begin + _SLICE])

    def _of_slice(self, data: bytes) -> Iterator[bytes]:
        while data and not self._over:
            if self._inner is None:
                data, self._head = self._head + data, b""
                if len(data) < 2:
                    self._head = data
                    return
                self._inner = self._begin(data)
                continue
            piece = self._inner.decompress(data, _PIECE)
            data = self._inner.unconsumed_tail
            while piece:
                self._budget.spend(len(piece))
                yield piece
                # There may be more where a piece is full, though all of the data is taken.
                piece = self._inner.decompress(b"", _PIECE) if len(piece) == _PIECE and not data else b""
            if self._inner.eof:
                data, self._inner = self._inner.unused_data, None

    def _begin(self, data: bytes) -> zlib._Decompress | None:
        """Another member, or the first; by its head, as servers call two things deflate."""
        gzipped = data[:2] == b"\x1f\x8b"
        if self._begun and not gzipped:
            self._over = True
            return None
        self._begun = True
        self._budget.spend(_MEMBER)
        in_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
        return zlib.decompressobj(_GZIP if gzipped else _ZLIB if in_zlib else _RAW)


class Decoder:
    """Undoes a body's codings while it passes. Bounded in memory and in what it makes of little."""

    def __init__(self, codings: Sequence[bytes], limit: int) -> None:
        """``limit``: bytes that may be made before they are compared with what came.

        Raises:
            UnreadableError: a coding is not read.
        """
        if len(codings) > _MOST_CODINGS or not READ.issuperset(codings):
            raise UnreadableError("coding_unknown")
        self._budget = _Budget(limit + _MEMBER * len(codings))
        self._stages = [_Inflater(self._budget) for _ in codings]

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What it holds, piece by piece.

        Raises:
            UnreadableError: it is damaged, or grows beyond reason; nothing more can be read.
        """
        self._budget.left += _MOST_GROWTH * len(chunk)
        try:
            yield from self._through(chunk, len(self._stages) - 1)
        except zlib.error:
            raise UnreadableError("coding_broken") from None

    def _through(self, data: bytes, stage: int) -> Iterator[bytes]:
        if stage < 0:
            yield data
            return
        for piece in self._stages[stage].pieces(data):
            yield from self._through(piece, stage - 1)


def decoded(body: bytes, codings: Sequence[bytes], limit: int) -> bytes:
    """A whole body without its codings.

    Raises:
        UnreadableError: a coding is not read, it is damaged, or it is longer than so many bytes.
    """
    out = bytearray()
    for piece in Decoder(codings, limit).feed(body):
        out += piece
        if len(out) > limit:
            raise UnreadableError("too_large")
    return bytes(out)
