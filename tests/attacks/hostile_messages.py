"""Messages nobody should send: by their descriptors, with values at and beyond every edge; damaged; and noise."""

import math
import random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_POWERS = [2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63)]
_INTEGERS = [0, 1, 2, 3, 7, 100, *_POWERS]
_NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-9, 1e9, 1e308, 5e-324, math.nan, math.inf, -math.inf]
_TEXTS = [
    "", " ", "a", "model", "r1", "r2", "tiny@1.0.0", "ngram@1.0.0", "minilm-l6@1.0.0", "\x00", "a\x00b", "\x1b[2J",
    "\u202e", "𐏿" * 40, "../../../etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ", "/proc/self/fd/0", "http://a/",
    '{"a": "b"}', "<script>", "%s%n", "\n\r\n", "word " * 300, "x" * 70_000, "😀", "'; drop",
]  # fmt: skip
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64),
}


def hostile(kind: Descriptor, rng: random.Random) -> bytes:
    """A serialised message of a kind: well-formed seven times of ten, else damaged or noise."""
    choice = rng.random()
    if choice < 0.05:
        return rng.randbytes(rng.choice([0, 1, 5, 100, 5000]))
    raw = filled(kind, rng).SerializeToString()
    return damaged(raw, rng) if choice < 0.3 else raw


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Cut, with bytes changed, doubled, or with fields that nobody knows."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    way = rng.randrange(4)
    if way == 0:
        return bytes(out[: rng.randrange(len(out) + 1)])
    if way == 1:
        return raw + raw
    if way == 2:
        return raw + bytes([15 << 3 | rng.randrange(6)]) + rng.randbytes(rng.randrange(12))
    return bytes(out)


def filled(kind: Descriptor, rng: random.Random, depth: int = 0) -> Message:
    """A well-formed message of a kind."""
    out = GetMessageClass(kind)()
    for field in kind.fields:
        if rng.random() < 0.35 + 0.15 * min(depth, 2):
            continue
        if field.is_repeated:
            for _ in range(rng.choice([0, 1, 1, 2, 3, 40 if depth < 2 else 2])):
                _add(out, field, rng, depth)
        elif field.message_type is not None:
            getattr(out, field.name).CopyFrom(filled(field.message_type, rng, depth + 1))
        else:
            setattr(out, field.name, _scalar(field, rng))
    return out


def _add(out: Message, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    """One more of a repeated field."""
    if field.message_type is not None:
        getattr(out, field.name).add().CopyFrom(filled(field.message_type, rng, depth + 1))
    else:
        getattr(out, field.name).append(_scalar(field, rng))


def _scalar(field: FieldDescriptor, rng: random.Random) -> object:
    kind = field.cpp_type
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return rng.choice([i for i in _INTEGERS if low <= i < high])
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice(_NUMBERS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        assert field.enum_type is not None
        return rng.choice([*(v.number for v in field.enum_type.values), 77, -1])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 16, 32, 300]))
    return rng.choice(_TEXTS)
