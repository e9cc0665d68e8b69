"""What a caller passes in, checked before anything is sent."""

from __future__ import annotations

import math
import operator

from rankd_client._types import MAX_ID_BYTES, Item
from rankd_client.shape import SHAPE_COUNTS, SHAPE_TEXTS, RequestShape

LATEST = 253402300799.0
"""The last second that a Timestamp can hold: the end of the year 9999."""
_LONGEST_WAIT = 1e7
"""Seconds; grpc gives up at once where it cannot count them."""


def seconds(value: float, field: str = "timeout") -> float:
    """A wait within what grpc and Python can count: at least 0, at most some months.

    Raises:
        ValueError: it is no number.
    """
    if math.isnan(value):
        raise ValueError(f"{field}: must be a number of seconds, not nan")
    return min(max(0.0, value), _LONGEST_WAIT)


def check_texts(item: Item, index: int) -> None:
    """Check the types of an item's texts, its tenant and its shape.

    Raises:
        TypeError: naming the field that is no text.
        ValueError: the tenant, or a text of the shape, is too long, or no Unicode text; a count of it cannot be.
    """
    if not isinstance(item, Item) or not (item.prompt is None or isinstance(item.prompt, str)):
        raise TypeError(f"items[{index}]: must be a string or an Item whose prompt is a string or None")
    if not (item.request_id is None or isinstance(item.request_id, str)):
        kind = type(item.request_id).__name__
        raise TypeError(f"items[{index}].request_id: must be a string or None, not {kind}")
    if not isinstance(item.tenant, str):
        raise TypeError(f"items[{index}].tenant: must be a string, not {type(item.tenant).__name__}")
    if len(utf8(item.tenant, f"items[{index}].tenant")) > MAX_ID_BYTES:
        raise ValueError(f"items[{index}].tenant: is over {MAX_ID_BYTES} bytes")
    if item.shape is not None:
        _check_shape(item.shape, f"items[{index}].shape")


def _check_shape(shape: RequestShape, field: str) -> None:
    if not isinstance(shape, RequestShape):
        raise TypeError(f"{field}: must be a RequestShape or None, not {type(shape).__name__}")
    for name, most in SHAPE_TEXTS.items():
        text = getattr(shape, name)
        if not isinstance(text, str):
            raise TypeError(f"{field}.{name}: must be a string, not {type(text).__name__}")
        if len(utf8(text, f"{field}.{name}")) > most:
            raise ValueError(f"{field}.{name}: is over {most} bytes")
    for name in SHAPE_COUNTS:
        number = getattr(shape, name)
        if not isinstance(number, int):
            raise TypeError(f"{field}.{name}: must be a whole number, not {type(number).__name__}")
        if not 0 <= number < 2**32:
            raise ValueError(f"{field}.{name}: must be in 0 to 2**32 - 1")


def check_id(request_id: str, index: int) -> None:
    """Check a request id.

    Raises:
        ValueError: it is empty, too long, or no Unicode text.
    """
    if not request_id:
        raise ValueError(f"items[{index}].request_id: must not be empty; leave it out to get one made up")
    if len(utf8(request_id, f"items[{index}].request_id")) > MAX_ID_BYTES:
        raise ValueError(f"items[{index}].request_id: is over {MAX_ID_BYTES} bytes")


def check_numbers(item: Item, arrival: float, index: int) -> None:
    """Check an item's times and counts against what the messages can hold.

    Raises:
        ValueError: naming the field that is out of range.
        TypeError: one is no number.
    """
    if not (math.isfinite(arrival) and 0 <= arrival <= LATEST):
        raise ValueError(f"items[{index}].arrival: must be seconds since the epoch, not {arrival!r}")
    for name in ("max_tokens", "generated_tokens", "prompt_tokens", "cached_prompt_tokens", "overtaken"):
        if not 0 <= operator.index(getattr(item, name)) < 2**32:
            raise ValueError(f"items[{index}].{name}: must be in 0 to 2**32 - 1")
    if not -(2**31) <= operator.index(item.priority_class) < 2**31:
        raise ValueError(f"items[{index}].priority_class: must be in -2**31 to 2**31 - 1")
    if item.deadline is not None and not (math.isfinite(item.deadline) and 0 <= item.deadline <= LATEST):
        raise ValueError(f"items[{index}].deadline: must be seconds since the epoch, not {item.deadline!r}")


def utf8(text: str, field: str) -> bytes:
    """Text as it is sent.

    Raises:
        ValueError: it is no Unicode text.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Replaced, it would not be the id that comes back.
        raise ValueError(f"{field}: must be Unicode text, without lone surrogates") from None
