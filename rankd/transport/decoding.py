"""Requests out of bytes: too many entries are refused before they become objects; a large one takes time slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from rankd.errors import FieldViolation, InvalidRequestError
from rankd.transport.time_slices import TimeSlice, TimeSlices
from rankd.transport.wire_count import PIECE_BYTES, MalformedError, WireCounter

Charge = Callable[[int, int], None]
_MALFORMED = (MalformedError, DecodeError, ValueError, RuntimeError)
"""Protobuf's choice differs by implementation."""


def _free(_: int, __: int) -> None:
    """Charge nothing: where one message at a time is decoded."""


class RequestDecoder:
    """Decodes the requests of one method."""

    def __init__(self, decode: Callable[[bytes], Any], most: int, time_slices: TimeSlices) -> None:
        """Take the generated stub's decoder, which is ``FromString`` of the message's class.

        Args:
            decode: of the method.
            most: entries that a repeated field may have.
            time_slices: for messages that are long work.
        """
        self._kind: Any = getattr(decode, "__self__")  # noqa: B009 - a builtin method's, which types do not show
        self._counter = WireCounter(self._kind.DESCRIPTOR, most)
        self._repeated = [each.name for each in self._kind.DESCRIPTOR.fields if each.is_repeated]
        self._time_slices = time_slices

    async def decode(self, holder: list[bytes], charge: Charge = _free) -> Any:
        """Decode the bytes that ``holder`` has, and take them out of it: they are not kept longer than needed.

        So few bytes as most requests have are decoded at once. What they became is charged before anything waits: a
        message that waits beside a thousand others may be a hundred times as large as its bytes.

        Args:
            holder: the bytes.
            charge: told how many entries there are, and small ones within these, before they are kept.

        Raises:
            InvalidRequestError: they are no message of this type, or one with too many entries.
            QuotaError: ``charge`` raised it.
        """
        if len(holder[0]) <= PIECE_BYTES:
            return self.decode_small(holder, charge)
        try:
            async with self._time_slices.acquire() as time_slice:
                return await self._decode_large(holder, time_slice, charge)
        except _MALFORMED:
            raise _malformed() from None

    def decode_small(self, holder: list[bytes], charge: Charge = _free) -> Any:
        """As ``decode``, of at most ``PIECE_BYTES``: nothing is waited for."""
        data = holder.pop()
        try:
            message = self._kind.FromString(data)
            entries = 0
            for name in self._repeated:
                entries += len(getattr(message, name))
            charge(entries, self._counter.small_nested(data))
        except _MALFORMED:
            raise _malformed() from None
        return message

    async def _decode_large(self, holder: list[bytes], time_slice: TimeSlice, charge: Charge) -> Any:
        data = holder.pop()
        ends: list[int] = []
        counting = self._counter.steps(data, ends)
        while True:
            try:
                next(counting)
            except StopIteration as counted:
                entries, nested = counted.value
                break
            if time_slice.over:
                await time_slice.next()
        charge(entries, nested)
        message = self._kind()
        began = 0
        for end in ends:
            if time_slice.over:
                await time_slice.next()
            # A message's encoding cut between fields is several messages', and these merged are it.
            message.MergeFromString(data[began:end])
            began = end
        return message


def _malformed() -> InvalidRequestError:
    return InvalidRequestError(
        [FieldViolation("request", "is no valid protobuf message of this method's type (strings must be UTF-8)")]
    )
