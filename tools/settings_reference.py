"""The reference of all settings, from rankd's settings themselves: ``python -m tools.settings_reference`` writes it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from rankd.settings import Settings, settings_reference
from tools.generated import REFERENCE, main

FILE = REFERENCE / "configuration.md"
_HEAD = """# Settings

Made from `rankd/settings/` by `make generate`; a test compares.
`rankd serve --help-settings` prints the same.

A flag of `rankd serve` goes before an environment variable, that before the TOML file that `--config` or `RANKD_CONFIG`
names, and that before the default. In the file a setting with a dot stands in its section:

```toml
listen = "0.0.0.0:50051"

[auth]
file = "/etc/rankd/auth.toml"
```

Lists are JSON in variables (`RANKD_QUALITY__MODELS='["a", "b"]'`), and tables
(`RANKD_ORDER__CLASS_OBJECTIVES='{"1": "mean"}'`); so is a whole section (`RANKD_AUTH='{...}'`).
A setting that there is none of, in the file or as a variable that begins with `RANKD_`, is an error that names the
nearest; so is a value out of its bounds. Times are in seconds and sizes in bytes. An empty default is none.

Beside settings these variables are read: `RANKD_CONFIG`; by the command line and by engines `RANKD_TARGET`,
`RANKD_ADMIN_TARGET`, `RANKD_TOKEN`, `RANKD_TOKEN_FILE` and `RANKD_PLAINTEXT_TOKEN` (docs/guides/security.md); by
engines those of docs/guides/vllm.md and docs/guides/proxy.md; and OpenTelemetry's (docs/reference/telemetry.md).
"""
_KINDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true, false",
    Path: "path",
    SecretStr: "secret text",
}
_SIGNS: dict[type, str] = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def _sections() -> Iterator[tuple[str, str, dict[str, FieldInfo]]]:
    """Each section's name, what it is about and its fields; first what is in none."""
    sections = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    yield "", "", {name: field for name, field in Settings.model_fields.items() if name not in sections}
    for name, section in sections.items():
        yield name, (section.__doc__ or "").strip(), section.model_fields


def _values(annotation: Any) -> str:
    """What a setting may be, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{v}`" for v in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return ", ".join(_values(a) for a in get_args(annotation) if a is not types.NoneType)
    if get_origin(annotation) is tuple:
        return f"list of {_KINDS[get_args(annotation)[0]]}"
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return f"table of {_values(get_args(key)[0] if get_args(key) else key)} to {_values(value)}"
    return _KINDS[annotation]


def _number(value: float) -> str:
    """A number as people write it."""
    return str(int(value)) if value == int(value) else str(value)


def _bounds(field: FieldInfo) -> str:
    """The ends of what it may be."""
    found = [
        f"{sign} {_number(next(v for v in (getattr(m, a, None) for a in ('ge', 'gt', 'le', 'lt')) if v is not None))}"
        for kind, sign in _SIGNS.items()
        for m in field.metadata
        if isinstance(m, kind)
    ]
    return " ".join([_values(field.annotation), ", ".join(found)]).strip()


def _rows(section: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    """One line per setting."""
    defaults = {name: default for name, default, _ in settings_reference()}
    for name, field in fields.items():
        full = f"{section}.{name}" if section else name
        variable = "RANKD_" + full.upper().replace(".", "__")
        text = defaults[full].lower() if field.annotation is bool else defaults[full]
        default = f"`{text}`" if text else ""
        description = (field.description or "").replace("|", "\\|")
        yield f"| `{full}`<br>`{variable}` | {default} | {_bounds(field)} | {description} |\n"


def reference() -> str:
    """The page."""
    parts = [_HEAD]
    for section, about, fields in _sections():
        parts.append(f"\n## `[{section}]`\n\n{about}\n\n" if section else "\n## In no section\n\n")
        parts.append("| setting, variable | default | may be | |\n|---|---|---|---|\n")
        parts.extend(_rows(section, fields))
    return "".join(parts)


def files() -> dict[Path, str]:
    """The page, where it belongs."""
    return {FILE: reference()}


if __name__ == "__main__":
    sys.exit(main("Write the reference of settings.", files))
