"""Requests out of bytes: too many entries are refused before they become objects; a large one takes time slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from rankd.errors import FieldViolation, InvalidRequestError
from rankd.transport.time_slices import TimeSlice, TimeSlices
from rankd.transport.wire_count import PIECE_BYTES, MalformedError, WireCounter


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
        self._time_slices = time_slices

    async def decode(self, holder: list[bytes]) -> Any:
        """Decode the bytes that ``holder`` has, and take them out of it: they are not kept longer than needed.

        So few bytes as most requests have cannot become much, and are decoded at once.

        Raises:
            InvalidRequestError: they are no message of this type, or one with too many entries.
        """
        try:
            if len(holder[0]) <= PIECE_BYTES:
                return self._kind.FromString(holder.pop())
            async with self._time_slices.acquire() as time_slice:
                return await self._decode_large(holder, time_slice)
        except (MalformedError, DecodeError, ValueError, RuntimeError):  # protobuf's choice differs by implementation
            raise InvalidRequestError(
                [
                    FieldViolation(
                        "request", "is no valid protobuf message of this method's type (strings must be UTF-8)"
                    )
                ]
            ) from None

    async def _decode_large(self, holder: list[bytes], time_slice: TimeSlice) -> Any:
        data = holder.pop()
        ends: list[int] = []
        for _ in self._counter.steps(data, ends):
            if time_slice.over:
                await time_slice.next()
        message = self._kind()
        began = 0
        for end in ends:
            if time_slice.over:
                await time_slice.next()
            # A message's encoding cut between fields is several messages', and these merged are it.
            message.MergeFromString(data[began:end])
            began = end
        return message
