"""What a request holds, counted on the wire before anything of it becomes an object.

An empty item is two bytes on the wire and over a hundred in memory. So entries of repeated fields are counted on bytes.
protobuf keeps unknown fields, and fields that stand twice, as bytes: they cost time only, and are counted in sum.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from rankd.errors import FieldViolation, InvalidRequestError

PIECE_BYTES = 2**16
"""Bytes of a message that are parsed, or counted, at once: a fraction of a millisecond, whatever they are."""
NESTED_PER_ENTRY = 16
"""Entries of nested repeated fields, on average, for each that one message may have: as many as shadow scores."""
_FIELDS_PER_ENTRY = 128
"""Fields of a message in all, for each entry it may have: more than an item with everything in it has."""
_FEW_BYTES = 2**12
"""Bytes that need no count of nested entries: what a call holds by itself is enough for them."""
_FEW = 16
_LOOK_BYTES = 2**19
"""Bytes that are looked through for small fields in one step."""
_STEPS = 2048
"""Fields between two looks at the clock."""
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_SMALL_SIZE = rb"[\x00-\x08\x80-\x88]"
"""How the size of a message of less than nine bytes begins; larger ones are not much larger in memory."""
_WIDTHS = {FieldDescriptor.CPPTYPE_DOUBLE: 8, FieldDescriptor.CPPTYPE_FLOAT: 4}


class MalformedError(Exception):
    """The bytes are no protobuf message."""


@dataclass(eq=False)
class WireField:
    """A field that is counted, or that has such fields in it."""

    name: str
    repeated: bool
    limit: int
    """Most entries, in the whole message."""
    width: int
    """Bytes of a packed entry; 0 where entries stand one by one."""
    fields: dict[int, WireField] = field(default_factory=dict)
    """By tag: what its messages hold."""


def _wire_fields(descriptor: Descriptor, most: int, prefix: str, seen: tuple[str, ...]) -> dict[int, WireField]:
    """Fields by the tag of their length-delimited form."""
    found: dict[int, WireField] = {}
    for each in descriptor.fields:
        inner = each.message_type
        if inner is not None and inner.full_name in seen:
            inner = None  # a message within itself; protobuf bounds the depth
        if not each.is_repeated and inner is None:
            continue
        name = f"{prefix}{each.name}"
        limit = most * NESTED_PER_ENTRY if prefix else most
        width = 0
        if each.is_repeated and each.message_type is None and each.cpp_type != FieldDescriptor.CPPTYPE_STRING:
            width = _WIDTHS.get(each.cpp_type, 1)
        entry = WireField(name, each.is_repeated, limit, width)
        if inner is not None:
            mark = "[]" if each.is_repeated else ""
            entry.fields = _wire_fields(inner, most, f"{name}{mark}.", (*seen, descriptor.full_name))
        if entry.repeated or entry.fields:
            found[each.number << 3 | _BYTES] = entry
    return found


def _nested(fields: dict[int, WireField], *, top: bool) -> Iterator[tuple[int, WireField]]:
    for tag, each in fields.items():
        if each.repeated and not top:
            yield tag, each
        yield from _nested(each.fields, top=False)


class WireCounter:
    """Counts the messages of one type."""

    def __init__(self, descriptor: Descriptor, most: int) -> None:
        """Let repeated fields have at most ``most`` entries (``limits.max_items``)."""
        self._most = most
        self._fields = _wire_fields(descriptor, most, "", ())
        self._nested = list(_nested(self._fields, top=True))
        self._small = [each for tag, _ in self._nested for each in _small_fields(tag)]
        tops = sum(each.repeated for each in self._fields.values())
        self._most_fields = max(1, tops) * most + 1024
        self._most_deep_fields = _FIELDS_PER_ENTRY * most + 1024

    def small_nested(self, data: bytes) -> int:
        """What looks like entries of nested repeated fields that are much smaller here than in memory.

        Fewer than one in ``_FEW`` bytes count as none: they take about as much as a request is charged for anyway.
        """
        if len(data) < _FEW_BYTES:
            return 0
        most = len(data) // _FEW
        return sum(len(small.findall(data)) for form, small in self._small if _times(data, form) > most)

    def steps(self, data: bytes, pieces: list[int]) -> Generator[None, None, tuple[int, int]]:
        """Count a message, some thousand fields a step.

        Args:
            data: the message.
            pieces: gets the ends of pieces that are messages by themselves and together make up all of it.

        Returns:
            How many entries its own repeated fields have, and what ``small_nested`` found.

        Raises:
            InvalidRequestError: naming a field with too many entries.
            MalformedError: these are no fields.
        """
        plain = _Count(data, self._fields, self._most_fields, self._most_fields)
        yield from plain.run(pieces, deep=False)
        for tag, each in self._nested:
            if (yield from _may_exceed(data, tag, each.limit)):
                yield from _Count(data, self._fields, self._most_fields, self._most_deep_fields).run([], deep=True)
                break
        nested = 0
        for start in range(0, len(data), _LOOK_BYTES):
            yield
            nested += self.small_nested(data[start : start + _LOOK_BYTES])
        return plain.entries(self._fields.values()), nested


def _may_exceed(data: bytes, tag: int, limit: int) -> Generator[None, None, bool]:
    """Whether there may be more than ``limit`` fields of a tag that are much smaller here than in memory.

    No more than there are places that look like one: in text hardly any does.
    """
    _, longer = _forms(tag)
    if _at_most(data, tag, limit):
        return False
    small = _small_fields(tag)[0][1]
    found = 0
    for start in range(0, len(data), _LOOK_BYTES):
        yield
        part = data[start : start + _LOOK_BYTES + len(longer)]
        found += part.count(longer + b"\x00") + part.count(longer + b"\x80") + len(small.findall(part))
        if found > limit:
            return True
    return False


def _small_fields(tag: int) -> list[tuple[bytes, re.Pattern[bytes]]]:
    """How small fields begin, behind a tag and behind one that is longer than it must be: each with the form's own."""
    first, longer = _forms(tag)
    return [
        (first, re.compile(re.escape(first) + _SMALL_SIZE)),
        (longer, re.compile(re.escape(longer) + rb"\x80*\x00" + _SMALL_SIZE)),
    ]


def _at_most(data: bytes, tag: int, limit: int) -> bool:
    return len(data) < 2 * limit or sum(_times(data, form) for form in _forms(tag)) <= limit


def _times(data: bytes, form: bytes) -> int:
    """How often a form stands in a message; most are a byte, which numpy counts several times as fast as Python."""
    if len(form) > 1:
        return data.count(form)
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == form[0]))


def _forms(tag: int) -> tuple[bytes, bytes]:
    """How a tag is encoded, and how an encoding of it begins that is longer than it must be."""
    head = b""
    while tag >= 0x80:
        head += bytes((tag & 0x7F | 0x80,))
        tag >>= 7
    return head + bytes((tag,)), head + bytes((tag | 0x80,))


class _Count:
    """One message under count."""

    def __init__(self, data: bytes, fields: dict[int, WireField], most_fields: int, most_inner: int) -> None:
        self._data = data
        self._fields = fields
        self._most_fields = most_fields
        self._most_inner = most_inner
        self._counts: dict[WireField, int] = {}
        self._inner = 0
        self._looked = 0

    def entries(self, fields: Iterable[WireField]) -> int:
        """How many of these fields were there."""
        return sum(self._counts.get(each, 0) for each in fields)

    def run(self, pieces: list[int], *, deep: bool) -> Iterator[None]:
        """Count; what is in a small entry only where ``deep``."""
        data, end = self._data, len(self._data)
        began = at = count = depth = 0
        while at < end:
            count += 1
            if not depth and not deep:
                at, skipped = self._skip_plain(at, end, began + PIECE_BYTES)
                count += skipped
            if at < end:
                tag, start, at = _field_at(data, at, end)
                depth += _depth_change(tag, depth)
                entry = None if depth else self._fields.get(tag)
                if entry is not None:
                    self._take(entry, at - start)
                    if entry.fields and (deep or at - start > PIECE_BYTES):
                        yield from self._descend(entry, start, at)
            if at - began >= PIECE_BYTES and not depth:
                pieces.append(at)
                began = at
            if count - self._looked >= _STEPS:
                self._looked = count
                if count > self._most_fields:
                    raise _too_many("request", self._most_fields)
                yield
        if began < end:
            pieces.append(end)

    def _skip_plain(self, at: int, end: int, until: int) -> tuple[int, int]:
        """Count what most of a long message is: entries of one field, less than 16 KB each.

        Returns:
            Where the first field begins that is none of these, or that begins after ``until``; how many there were.
        """
        data = self._data
        tag = data[at]
        entry = self._fields.get(tag)
        count = 0
        if tag & 0x87 != _BYTES or (entry is not None and entry.width):
            return at, 0
        last = min(end - 2, until)
        while at < last and data[at] == tag:
            size = data[at + 1]
            if size < 0x80:
                after = at + 2 + size
            elif data[at + 2] < 0x80:
                after = at + 3 + size - 0x80 + (data[at + 2] << 7)
            else:
                break
            if after > end:
                raise MalformedError
            at = after
            count += 1
        if entry is not None and count:
            self._take(entry, 0, count)
        return at, count

    def _descend(self, parent: WireField, start: int, end: int) -> Iterator[None]:
        within = [(parent, start, end)]
        while within:
            parent, at, end = within.pop()
            depth = 0
            while at < end:
                tag, start, at = _field_at(self._data, at, end)
                depth += _depth_change(tag, depth)
                self._inner += 1
                if self._inner % _STEPS == 0:
                    if self._inner > self._most_inner:
                        raise _too_many(f"{parent.name}[]", self._most_inner)
                    yield
                entry = None if depth else parent.fields.get(tag)
                if entry is not None:
                    self._take(entry, at - start)
                    if entry.fields and at > start:
                        within.append((entry, start, at))

    def _take(self, entry: WireField, size: int, times: int = 1) -> None:
        if entry.repeated:
            count = self._counts.get(entry, 0) + times * (-(-size // entry.width) if entry.width else 1)
            self._counts[entry] = count
            if count > entry.limit:
                raise _too_many(entry.name, entry.limit)


def _too_many(name: str, limit: int) -> InvalidRequestError:
    """The text that a repeated field gets after parsing, too; in it, and of fields in all, more are allowed."""
    if name == "request" or "[]" in name:
        text = f"has more than {limit} entries in all, far over what limits.max_items allows: split the queue"
    else:
        text = f"has more than {limit} entries, over limits.max_items = {limit}: split the queue"
    return InvalidRequestError([FieldViolation(name.removesuffix("[]"), text)])


def _depth_change(tag: int, depth: int) -> int:
    """Groups, which no message of ours has, are fields one by one here, and nothing within them is counted by name."""
    kind = tag & 7
    if kind == _GROUP_END and not depth:
        raise MalformedError
    return (kind == _GROUP) - (kind == _GROUP_END)


def _field_at(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The tag of a field, and where its content begins and ends."""
    tag = data[at]
    at += 1
    if tag >= 0x80:
        tag, at = _varint(data, at - 1, end)
    kind = tag & 7
    start = at
    if kind == _BYTES:
        size, start = _varint(data, at, end)
        at = start + size
    elif kind == _VARINT:
        _, at = _varint(data, at, end)
    elif kind in _FIXED_SIZES:
        at += _FIXED_SIZES[kind]
    if at > end or kind > max(_FIXED_SIZES):
        raise MalformedError
    return tag, start, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedError
