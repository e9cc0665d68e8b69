"""TOML files that hold secrets: their errors name the place, and nothing of what stands there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rankd.errors import ConfigError

_PLACE = re.compile(r"at line \d+, column \d+")


def parse_toml(data: bytes, path: Path, setting: str) -> dict[str, Any]:
    """Parse what a file holds; ``path`` is for the error's text.

    Raises:
        ConfigError: it is no TOML.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{setting}: {path} is not UTF-8 text: save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The rest of the message may quote what stands there.
        place = _PLACE.search(str(error))
        raise ConfigError(f"{setting}: {path} is not TOML{f' ({place[0]})' if place else ''}") from None


Entries = list[tuple[str, Any]]


def entries_of(
    data: Mapping[str, Any], models: Mapping[str, type[BaseModel]], path: Path, setting: str
) -> dict[str, Entries]:
    """All entries by table, each validated, with the words that name it in errors.

    Raises:
        ConfigError: naming the file, the entry, its field and what is wrong with it.
    """
    for table in data:
        if table not in models:
            known = ", ".join(f"[[{name}]]" for name in models)
            raise ConfigError(f"{setting}: {path} has a table that there is none of; it may have {known}")
    out: dict[str, Entries] = {}
    for table, model in models.items():
        rows = data.get(table, [])
        if not isinstance(rows, list):
            raise ConfigError(f"{setting}: {path}: write [[{table}]] in double brackets, once for every entry")
        out[table] = []
        for number, row in enumerate(rows, 1):
            where = f"{path}: [[{table}]] number {number}{_called(row)}"
            try:
                out[table].append((where, model.model_validate(row)))
            except ValidationError as error:
                raise ConfigError(f"{setting}: {where}: {_explain(error)}") from None
    return out


def _called(row: Any) -> str:
    name = row.get("name", row.get("id")) if isinstance(row, dict) else None
    return f" ({name})" if isinstance(name, str) and name.isprintable() else ""


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    return f"{field}: {message}" if field else message
