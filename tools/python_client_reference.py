"""The reference of the Python client's public API, from its signatures and docstrings.

``python -m tools.python_client_reference`` writes it. What is in ``rankd_client.__all__`` is public.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

from tools.generated import REFERENCE, ROOT, main, paragraph

FILE = REFERENCE / "python-client.md"
_HEAD = """# The Python client

Made from the docstrings of `rankd_client` by `make generate`; a test compares. Everything here is imported from
`rankd_client` itself; [its README](../../clients/python/README.md) shows how it is used.
"""
_WIDTH = 116


def reference() -> str:
    """The page: a section for each public name, by the alphabet."""
    package = griffe.load("rankd_client", search_paths=[ROOT / "clients" / "python"], docstring_parser="google")
    names = sorted(str(name) for name in package.exports or ())
    return _HEAD + "".join(_section(name, package[name]) for name in names)


def _section(name: str, member: griffe.Object | griffe.Alias) -> str:
    found = member.final_target if isinstance(member, griffe.Alias) else member
    text = f"\n## {name}\n"
    if ".v1." in found.path:
        return f"{text}\nA message of [the gRPC API](grpc.md#{name.lower()}).\n"
    if isinstance(found, griffe.Class):
        return text + _class(name, found)
    if isinstance(found, griffe.Function):
        return text + _function(name, found)
    if isinstance(found, griffe.Attribute) and found.value is not None:
        text += f"\n```python\n{name} = {_code(found.value)}\n```\n"
    return text + _docstring(found)


def _class(name: str, found: griffe.Class) -> str:
    constructor = found.members.get("__init__")
    bases = f"({', '.join(str(base) for base in found.bases)})" if found.bases else ""
    text = ""
    if isinstance(constructor, griffe.Function) and "dataclass" not in found.labels:
        text += f"\n```python\n{_signature(name, constructor)}\n```\n" + _docstring(found)
        text += _docstring(constructor, only_sections=True)
    else:
        text += f"\n```python\nclass {name}{bases}\n```\n" + _docstring(found)
    public = [member for key, member in found.members.items() if not key.startswith("_")]
    if fields := [member for member in public if isinstance(member, griffe.Attribute)]:
        text += "\n" + "".join(_field(field) for field in fields)
    for member in public:
        if isinstance(member, griffe.Function):
            text += f"\n### {name}.{member.name}\n" + _function(member.name, member)
    return text


def _function(name: str, found: griffe.Function) -> str:
    prefix = "async def " if "async" in found.labels else "def "
    return f"\n```python\n{_signature(prefix + name, found, returns=True)}\n```\n" + _docstring(found)


def _signature(name: str, found: griffe.Function, *, returns: bool = False) -> str:
    """A call, on one line or with a line for each parameter."""
    parts, keywords = [], False
    for parameter in found.parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not keywords:
            keywords = True
            parts.append("*")
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(str(getattr(parameter.kind, "value", "")), "")
        text = star + parameter.name + (f": {parameter.annotation}" if parameter.annotation else "")
        parts.append(text + (f" = {_code(parameter.default)}" if parameter.default is not None and not star else ""))
    end = f" -> {found.returns}" if returns and found.returns else ""
    line = f"{name}({', '.join(parts)}){end}"
    return line if len(line) <= _WIDTH else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"


def _code(value: object) -> str:
    """An expression as ruff formats it, which also formats code in Markdown."""
    return str(value).replace("'", '"')


def _field(field: griffe.Attribute) -> str:
    declared = field.name + (f": {field.annotation}" if field.annotation else "")
    simple = field.value is not None and "(" not in str(field.value)
    about = " ".join(field.docstring.value.split()) if field.docstring else ""
    default = f" = {_code(field.value)}" if simple else ""
    return paragraph(f"- `{declared}{default}`" + (f": {_markdown(about)}" if about else ""), indent="  ")


def _docstring(found: griffe.Object, *, only_sections: bool = False) -> str:
    """A docstring's paragraphs, and its sections as lists."""
    if found.docstring is None:
        return ""
    return "".join(_parts(found.docstring.parsed, only_sections=only_sections))


def _parts(sections: list[griffe.DocstringSection], *, only_sections: bool) -> Iterator[str]:
    for section in sections:
        if isinstance(section, griffe.DocstringSectionText):
            if not only_sections:
                yield from (f"\n{_paragraph(block)}" for block in section.value.split("\n\n"))
        elif isinstance(section, griffe.DocstringSectionParameters):
            yield "\n" + "".join(_item(f"`{each.name}`", each.description) for each in section.value)
        elif isinstance(section, griffe.DocstringSectionRaises):
            yield "\n" + "".join(_item(f"raises `{each.annotation}`", each.description) for each in section.value)
        elif isinstance(section, griffe.DocstringSectionReturns):
            yield "\n" + "".join(_item("returns", each.description) for each in section.value)


def _item(name: str, description: str) -> str:
    return paragraph(f"- {name}: {_markdown(' '.join(description.split()))}", indent="  ")


def _paragraph(block: str) -> str:
    """A paragraph, or the items of a list, in Markdown."""
    if not re.search(r"^\s*[*-] ", block, re.MULTILINE):
        return paragraph(_markdown(" ".join(block.split())))
    items = re.split(r"\n(?=\s*[*-] )", block.strip("\n"))
    return "".join(paragraph(_markdown(" ".join(item.split())), indent="  ") for item in items)


def _markdown(text: str) -> str:
    """Code and references of reStructuredText as Markdown has them."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def files() -> dict[Path, str]:
    """The page, where it belongs."""
    return {FILE: reference()}


if __name__ == "__main__":
    sys.exit(main("Write the reference of the Python client.", files))
