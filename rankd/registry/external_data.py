"""Whether an ONNX model keeps tensors in files of their own, which no hash would vouch for.

onnxruntime finds such files beside the model, maps them and reads them when it likes: one that is replaced is served,
one that is cut ends the process. The model is read as protobuf's wire format (https://protobuf.dev/programming-guides/encoding/),
field by field, down to its tensors, without making objects of it: field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from rankd.errors import ArtifactError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_CHILDREN = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
"""What of a message may hold tensors: by field."""
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_KEY, _VALUE = 1, 2
_LONGEST = 100


def refuse_external_data(model: memoryview, path: str) -> None:
    """Raise where a tensor's values are not in the model itself.

    Args:
        model: the bytes of ``model.onnx``.
        path: what the message calls it.

    Raises:
        ArtifactError: EXTERNAL_DATA, naming the tensor and the file; BAD_MODEL, where it is no protobuf.
    """
    left = [("Model", model)]
    try:
        while left:
            kind, message = left.pop()
            if kind == "Tensor":
                _check_tensor(message, path)
                continue
            children = _CHILDREN[kind]
            for number, value in _fields(message):
                if number in children and isinstance(value, memoryview):
                    left.append((children[number], value))
    except (IndexError, ValueError):
        raise ArtifactError("BAD_MODEL", f"{path} cannot be loaded: it is no ONNX model") from None


def _check_tensor(tensor: memoryview, path: str) -> None:
    name, location, external = "", "", False
    for number, value in _fields(tensor):
        if number == _NAME and isinstance(value, memoryview):
            name = _text(value)
        elif number == _DATA_LOCATION:
            external = external or value != 0
        elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
            external = True
            entry = {key: part for key, part in _fields(value) if isinstance(part, memoryview)}
            if _text(entry.get(_KEY, memoryview(b""))) == "location":
                location = _text(entry.get(_VALUE, memoryview(b"")))
    if external:
        raise ArtifactError(
            "EXTERNAL_DATA",
            f"{path} keeps tensor {name!r} in another file, {location!r}, for which no hash vouches: "
            "save the model as one file (onnx.save_model(model, path, save_as_external_data=False))",
        )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields: a number, or the bytes of one that has a length.

    Raises:
        ValueError: it is no message.
        IndexError: it ends within a field.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            length, at = _varint(message, at)
            if length > end - at:
                raise ValueError("longer than what holds it")
            value, at = message[at : at + length], at + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("no wire type of ONNX")
        if at > end or number == 0:
            raise ValueError("no field")
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("too long a number")


def _text(value: memoryview) -> str:
    return bytes(value[:_LONGEST]).decode("utf-8", "replace")
