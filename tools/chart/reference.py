"""The chart's reference and schema, from its values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.chart.settings_schema import closed
from tools.chart.values import CHART, Value, read_values

OF_A_PARENT: dict[str, dict[str, Any]] = {
    "global": {
        "type": ["object", "null"],
        "description": "Of a chart that depends on this one; Helm hands it to all its charts. Without effect here.",
        "additionalProperties": True,
    },
    "enabled": {
        "type": ["boolean", "null"],
        "description": "For `condition: rankd.enabled` of a chart that depends on this one. Without effect here.",
    },
}
"""What Helm puts among the values of a chart that another one depends on. They stand in no ``values.yaml``: a default
would be read as the parent's own word on its condition."""

_TITLE = "| value | default | |\n|---|---|---|\n"


def schema(values: list[Value]) -> str:
    """``values.schema.json``."""
    properties = {v.path: v.schema for v in values} | OF_A_PARENT
    document = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "rankd"} | closed(properties)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def reference(values: list[Value]) -> str:
    """``README.md``."""
    rows = "".join(_row(v) for v in _leaves(values))
    return (
        "# rankd's chart\n\n"
        "Made from `values.yaml` by `make generate`; a test compares. How to install, with examples, is in "
        "[the guide](../../docs/guides/kubernetes.md).\n\n"
        "`values.schema.json` refuses values that are not listed here, `templates/_guards*.tpl` those that contradict "
        "each other.\n\n"
        "A chart that depends on this one may switch it by `condition: rankd.enabled`.\n" + _of_a_parent() + "\n\n"
        "## Values\n\n" + _TITLE + rows
    )


def _of_a_parent() -> str:
    names = " and ".join(f"`{name}`" for name in OF_A_PARENT)
    return f"{names} are taken for that, and have no effect on what is rendered."


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


def files() -> dict[Path, str]:
    """``README.md`` and ``values.schema.json``."""
    values = read_values((CHART / "values.yaml").read_text(encoding="utf-8"))
    return {CHART / "README.md": reference(values), CHART / "values.schema.json": schema(values)}
