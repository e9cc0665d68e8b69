"""The reference of all settings, made from rankd/settings/load.py.

``python tests/unit/test_configuration.py`` writes docs/reference/configuration.md anew.
"""

import re
import types
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr

from rankd.settings.load import Settings, settings_reference

DOC = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
KINDS = {str: "text", int: "whole number", float: "number", bool: "true, false", Path: "path", SecretStr: "secret text"}
SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def sections():
    """Each section's name, what it is about and its fields; first what is in none."""
    plain = {n: f for n, f in Settings.model_fields.items() if not hasattr(f.annotation, "model_fields")}
    yield "", "", plain
    for name, field in Settings.model_fields.items():
        if name not in plain:
            yield name, field.annotation.__doc__.strip(), field.annotation.model_fields


def values(annotation):
    """What a setting may be, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{v}`" for v in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return ", ".join(values(a) for a in get_args(annotation) if a is not types.NoneType)
    if get_origin(annotation) is tuple:
        return f"list of {KINDS[get_args(annotation)[0]]}"
    return KINDS[annotation]


def number(value):
    """A number as people write it."""
    return str(int(value)) if value == int(value) else str(value)


def bounds(field):
    """The ends of what it may be."""
    found = [
        f"{sign} {number(next(v for v in (getattr(m, a, None) for a in ('ge', 'gt', 'le', 'lt')) if v is not None))}"
        for kind, sign in SIGNS.items()
        for m in field.metadata
        if isinstance(m, kind)
    ]
    return " ".join([values(field.annotation), ", ".join(found)]).strip()


def rows(section, fields):
    """One line per setting."""
    shown = {name: default for name, default, _ in settings_reference()}
    for name, field in fields.items():
        full = f"{section}.{name}" if section else name
        variable = "RANKD_" + full.upper().replace(".", "__")
        text = shown[full].lower() if field.annotation is bool else shown[full]
        default = f"`{text}`" if text else ""
        description = field.description.replace("|", "\\|")
        yield f"| `{full}`<br>`{variable}` | {default} | {bounds(field)} | {description} |\n"


def reference():
    """docs/reference/configuration.md."""
    parts = [HEAD]
    for section, about, fields in sections():
        parts.append(f"\n## `[{section}]`\n\n{about}\n\n" if section else "\n## In no section\n\n")
        parts.append("| setting, variable | default | may be | |\n|---|---|---|---|\n")
        parts.extend(rows(section, fields))
    return "".join(parts)


HEAD = """# Settings

Made from `rankd/settings/` by `python tests/unit/test_configuration.py`; a test compares.
`rankd serve --help-settings` prints the same.

A flag of `rankd serve` goes before an environment variable, that before the TOML file that `--config` or `RANKD_CONFIG`
names, and that before the default. In the file a setting with a dot stands in its section:

```toml
listen = "0.0.0.0:50051"

[auth]
file = "/etc/rankd/auth.toml"
```

Lists are JSON in variables (`RANKD_QUALITY__MODELS='["a", "b"]'`); so is a whole section (`RANKD_AUTH='{...}'`).
A setting that there is none of, in the file or as a variable that begins with `RANKD_`, is an error that names the
nearest; so is a value out of its bounds. Times are in seconds and sizes in bytes. An empty default is none.

Beside settings these variables are read: `RANKD_CONFIG`; by the command line and by engines `RANKD_TARGET`,
`RANKD_ADMIN_TARGET`, `RANKD_TOKEN`, `RANKD_TOKEN_FILE` and `RANKD_PLAINTEXT_TOKEN` (docs/guides/security.md); by
engines those of docs/guides/vllm.md and docs/guides/proxy.md; and OpenTelemetry's (docs/reference/telemetry.md).
"""


def test_the_reference_is_made_from_the_settings():
    """docs/reference/configuration.md is what this file writes."""
    assert DOC.read_text(encoding="utf-8") == reference(), "run: python tests/unit/test_configuration.py"


@pytest.mark.parametrize("name", [name for name, _, _ in settings_reference()])
def test_every_setting_is_in_it(name):
    """With its variable, its default and what it may be."""
    (line,) = re.findall(rf"^\| `{re.escape(name)}`<br>.*$", reference(), re.MULTILINE)
    variable, _, allowed, description = (cell.strip() for cell in line.strip("| ").split(" | "))
    assert f"`RANKD_{name.upper().replace('.', '__')}`" in variable
    assert allowed
    assert description


def test_bounds_are_told():
    """Both ends, and which of them belong to it."""
    text = reference()
    assert "| `quality.max_tenant_share`<br>`RANKD_QUALITY__MAX_TENANT_SHARE` | `0.5` | number > 0, ≤ 1 |" in text
    assert "| `auth.anonymous`<br>`RANKD_AUTH__ANONYMOUS` | `auto` | true, false, `auto` |" in text
    assert "| `limits.max_items`<br>`RANKD_LIMITS__MAX_ITEMS` | `16384` | whole number ≥ 1, ≤ 16777216 |" in text


if __name__ == "__main__":
    DOC.write_text(reference(), encoding="utf-8")
