"""The chart's reference and schema, made from ``values.yaml`` and rankd's own settings: ``make chart``.

In ``values.yaml`` a comment that begins with ``# --`` says what a value is for, up to the value; lines that begin with
``# @`` are YAML that is laid over the schema, which otherwise follows from the default. ``settings`` gets its schema
from ``rankd.config.Settings``, less what the chart sets itself.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rankd.settings.load import Settings

CHART = Path(__file__).parent / "rankd"
OWNED = frozenset(
    {
        "listen", "metrics", "admin", "provider", "ranker", "registry", "drain_delay", "drain_timeout",
        "tls.certificate", "tls.private_key", "tls.client_ca", "auth.file", "auth.anonymous", "signing.file",
        "auth.plaintext", "completion_log.directory", "completion_log.join_key", "quality.snapshot",
        "quality.snapshot_key",
        "fleet.peers", "fleet.follow", "fleet.token_file", "fleet.tls_roots", "fleet.tls_name",
    }
)  # fmt: skip
"""Settings that the chart gives as variables, which win over the file: in ``settings`` they would be ignored."""

_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "pattern", "items")
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_TITLE = "| value | default | |\n|---|---|---|\n"


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
        if self.extra.get("settings"):
            return settings_schema() | {"description": self.text}
        if self.children:
            return _closed({v.path.rpartition(".")[2]: v.schema for v in self.children})
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


def settings_schema() -> dict[str, Any]:
    """The schema of ``settings``: rankd's own, less what the chart sets itself and less secrets."""
    whole = Settings.model_json_schema()
    return _section(whole, whole["$defs"], "")


def _section(model: dict[str, Any], definitions: dict[str, Any], prefix: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, given in model["properties"].items():
        if prefix + name in OWNED:
            continue
        reference = given.get("$ref") or next((r["$ref"] for r in given.get("allOf", []) if "$ref" in r), "")
        if reference:
            section = _section(definitions[reference.rpartition("/")[2]], definitions, f"{prefix}{name}.")
            if section["properties"]:
                properties[name] = section
        elif given.get("format") != "password":
            properties[name] = _plain(given) | {"description": given.get("description", "")}
    return _closed(properties)


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """What helm's validator understands of a field's schema; None is left out, since TOML has none."""
    if choices := given.get("anyOf"):
        kinds = [_plain(c) for c in choices if c.get("type") != "null"]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    plain = {key: given[key] for key in _KEPT if key in given}
    if "const" in given:
        plain["enum"] = [given["const"]]
    return plain


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def schema(values: list[Value]) -> str:
    """``values.schema.json``."""
    properties = {v.path: v.schema for v in values}
    # Helm puts it into the values of a chart that another one depends on.
    properties["global"] = {"type": "object", "additionalProperties": True}
    document = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "rankd"} | _closed(properties)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def reference(values: list[Value]) -> str:
    """``README.md``."""
    rows = "".join(_row(v) for v in _leaves(values))
    return (
        "# rankd's chart\n\n"
        "Made from `values.yaml` by `make chart`; a test compares. How to install, with examples, is in "
        "[the guide](../../docs/guides/kubernetes.md).\n\n"
        "`values.schema.json` refuses values that are not listed here, `templates/_guards.tpl` those that contradict "
        "each other.\n\n"
        "## Values\n\n" + _TITLE + rows
    )


def _leaves(values: list[Value]) -> Iterator[Value]:
    for value in values:
        if value.children:
            yield from _leaves(value.children)
        else:
            yield value


def _row(value: Value) -> str:
    default = json.dumps(value.default, ensure_ascii=False)
    text = value.text
    if choices := value.extra.get("enum"):
        text += " One of " + ", ".join(f"`{json.dumps(c)}`" for c in choices) + "."
    return f"| `{value.path}` | `{default}` | {text} |\n".replace("\\|", "|")


def main(write: bool) -> int:
    """Write the files, or name those that are out of date; 0 where all are as they should be."""
    values = read_values((CHART / "values.yaml").read_text(encoding="utf-8"))
    stale = []
    for name, text in (("README.md", reference(values)), ("values.schema.json", schema(values))):
        path = CHART / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
            if write:
                path.write_text(text, encoding="utf-8")
    if stale and not write:
        print("out of date, run `make chart`: " + ", ".join(stale), file=sys.stderr)
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main(write="--check" not in sys.argv))
