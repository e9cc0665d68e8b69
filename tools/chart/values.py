"""What a chart's ``values.yaml`` says: each value with its default, its description and its schema.

A comment that begins with ``# --`` says what a value is for, up to the value; lines that begin with ``# @`` are YAML
that is laid over the schema, which otherwise follows from the default. ``settings: true`` gives the schema of rankd's
settings, ``settings: proxy`` that of the proxy's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tools.chart.settings_schema import closed, settings_schema
from tools.generated import ROOT

CHART = ROOT / "charts" / "rankd"
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass(slots=True)
class Value:
    """A value, or a group of them."""

    path: str
    default: Any
    text: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    children: list[Value] = field(default_factory=list)

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        if whose := self.extra.get("settings"):
            return settings_schema("proxy" if whose == "proxy" else "rankd") | {"description": self.text}
        if self.children:
            return closed({v.path.rpartition(".")[2]: v.schema for v in self.children})
        schema: dict[str, Any] = {"type": _KINDS[type(self.default)], "description": self.text}
        return schema | self.extra


def read_values(text: str) -> list[Value]:
    """The values of a ``values.yaml``, in its order.

    Raises:
        ValueError: a value that nothing says anything about, naming it.
    """
    return list(_walk(yaml.compose(text), text.splitlines(), yaml.safe_load(text), ""))


def _walk(node: Any, lines: list[str], defaults: dict[str, Any], prefix: str) -> Iterator[Value]:
    for key, child in node.value:
        path = prefix + key.value
        value = Value(path, defaults[key.value])
        value.text, value.extra = _comment(lines, key.start_mark.line)
        is_group = isinstance(child, yaml.MappingNode) and child.value and "additionalProperties" not in value.extra
        if is_group:
            value.children = list(_walk(child, lines, value.default, f"{path}."))
        elif not value.text:
            raise ValueError(f"values.yaml, line {key.start_mark.line + 1}: {path} has no description (`# -- ...`)")
        yield value


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    """Description and schema in the comment right above a line."""
    comment: list[str] = []
    while line and (match := re.fullmatch(r"\s*# ?(.*)", lines[line - 1])):
        comment.insert(0, match[1])
        line -= 1
    begins = [i for i, text in enumerate(comment) if text.startswith("-- ")]
    if not begins:
        return "", {}
    comment = comment[begins[-1] :]
    words = [text.removeprefix("-- ") for text in comment if not text.startswith("@")]
    extra: dict[str, Any] = {}
    block: list[str] = []
    for text in (text[2:] for text in comment if text.startswith("@ ")):
        if block and not text.startswith(" "):
            extra |= yaml.safe_load("\n".join(block))
            block = []
        block.append(text)
    if block:
        extra |= yaml.safe_load("\n".join(block))
    return " ".join(words), extra
