"""The reference of the gRPC API, from the comments in protos/: ``python -m tools.grpc_reference`` writes it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from tools.generated import REFERENCE, ROOT, main, paragraph

FILE = REFERENCE / "grpc.md"
PROTOS = ROOT / "protos"
_PACKAGE = ".rankd.v1."
_ORDER = ("rank", "completion", "prediction", "quality", "admin", "error_reason")
"""The files, in the order of a request."""
_MESSAGE, _SERVICE, _ENUM = 4, 6, 5
_NESTED_MESSAGE, _NESTED_ENUM = 3, 4
_FIELD = _METHOD = _VALUE = 2
"""Where a description stands within its parent: numbers of fields in descriptor.proto."""
_HEAD = """# The gRPC API

Made from the comments in [protos/rankd/v1](../../protos/rankd/v1) by `make generate`; a test compares. The files there
are the contract; this is what they say, to read and to link to. Package `rankd.v1`.
"""

Comments = dict[tuple[int, ...], str]
"""What stands before a declaration, by its path in the file's descriptor."""


def reference() -> str:
    """The page."""
    return _HEAD + "".join(_file(descriptor) for descriptor in _descriptors())


def _descriptors() -> list[FileDescriptorProto]:
    """The files with their comments, as protoc reads them.

    Raises:
        RuntimeError: protoc refuses them; it says why on stderr.
    """
    names = [f"rankd/v1/{name}.proto" for name in _ORDER]
    with tempfile.NamedTemporaryFile() as out:
        flags = [f"-I{PROTOS}", f"--descriptor_set_out={out.name}", "--include_source_info"]
        well_known = f"-I{Path(protoc.__file__).parent / '_proto'}"
        if protoc.main(["protoc", *flags, well_known, *names]) != 0:
            raise RuntimeError("protoc does not accept protos/")
        files = {file.name: file for file in FileDescriptorSet.FromString(Path(out.name).read_bytes()).file}
    return [files[name] for name in names]


def _file(file: FileDescriptorProto) -> str:
    comments = {tuple(place.path): _comment(place.leading_comments) for place in file.source_code_info.location}
    text = f"\n## {Path(file.name).name}\n"
    for index, service in enumerate(file.service):
        text += _service(service, (_SERVICE, index), comments)
    for index, message in enumerate(file.message_type):
        text += _message(message, message.name, (_MESSAGE, index), comments)
    for index, enum in enumerate(file.enum_type):
        text += _enum(enum, enum.name, (_ENUM, index), comments)
    return text


def _comment(text: str) -> str:
    return " ".join(text.split())


def _service(service: ServiceDescriptorProto, path: tuple[int, ...], comments: Comments) -> str:
    lines = []
    for index, method in enumerate(service.method):
        request = ("a stream of " if method.client_streaming else "") + _type_name(method.input_type)
        response = ("a stream of " if method.server_streaming else "") + _type_name(method.output_type)
        lines.append((f"`{method.name}`, {request} → {response}", comments.get((*path, _METHOD, index), "")))
    return _section(service.name, comments.get(path, ""), lines)


def _message(message: DescriptorProto, name: str, path: tuple[int, ...], comments: Comments) -> str:
    lines = [
        (f"`{field.name}`, {_field_type(field)}", comments.get((*path, _FIELD, index), ""))
        for index, field in enumerate(message.field)
    ]
    text = _section(name, comments.get(path, ""), lines)
    for index, nested in enumerate(message.nested_type):
        text += _message(nested, f"{name}.{nested.name}", (*path, _NESTED_MESSAGE, index), comments)
    for index, enum in enumerate(message.enum_type):
        text += _enum(enum, f"{name}.{enum.name}", (*path, _NESTED_ENUM, index), comments)
    return text


def _enum(enum: EnumDescriptorProto, name: str, path: tuple[int, ...], comments: Comments) -> str:
    lines = [
        (f"`{value.name}` = {value.number}", comments.get((*path, _VALUE, index), ""))
        for index, value in enumerate(enum.value)
    ]
    return _section(name, comments.get(path, ""), lines)


def _section(name: str, about: str, lines: list[tuple[str, str]]) -> str:
    text = f"\n### {name}\n" + (f"\n{paragraph(about)}" if about else "")
    items = (f"- {what}" + (f": {comment}" if comment else "") for what, comment in lines)
    return text + ("\n" if lines else "") + "".join(paragraph(item, indent="  ") for item in items)


def _field_type(field: FieldDescriptorProto) -> str:
    """A field's type in words: one value, a list, or one that may be absent."""
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    kind = _type_name(field.type_name) if field.type_name else scalar
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {kind}"
    return f"optional {kind}" if field.proto3_optional else kind


def _type_name(name: str) -> str:
    """A type of ours as a link to its section, any other one by its name."""
    if not name.startswith(_PACKAGE):
        return f"`{name.removeprefix('.')}`"
    own = name.removeprefix(_PACKAGE)
    return f"[{own}](#{own.replace('.', '').lower()})"


def files() -> dict[Path, str]:
    """The page, where it belongs."""
    return {FILE: reference()}


if __name__ == "__main__":
    sys.exit(main("Write the reference of the gRPC API.", files))
