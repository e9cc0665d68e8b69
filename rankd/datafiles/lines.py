"""Rows in lines of text: JSON lines and CSV, in memory that does not grow with the file or with a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from rankd.datafiles.values import Raw
from rankd.errors import ConfigError

LONGEST_LINE = 64 * 2**20
"""Bytes of a line that are read; a longer one is skipped."""
_LONGEST_CELL = 16 * 2**20


def json_lines(path: Path, data: IO[bytes]) -> Iterator[tuple[int, Raw]]:
    """The objects of a file with one a line, or reasons, with their lines from 1; blank lines are none.

    Raises:
        ConfigError: the file is an array.
    """
    first = True
    for number, line in enumerate(_lines(data), 1):
        raw: Raw = line if isinstance(line, str) else _json_line(line)
        if raw == "":
            continue
        if first and isinstance(line, bytes) and line.lstrip().startswith(b"["):
            raise ConfigError(f"{path} is a JSON array, not an object a line: convert it with `jq -c '.[]'`")
        yield number, raw
        first = False


def _lines(data: IO[bytes]) -> Iterator[bytes | str]:
    """Lines of at most ``LONGEST_LINE`` bytes; a reason in the place of a longer one."""
    while line := data.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (more := data.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
            pass
        yield "line too long"


def _json_line(line: bytes) -> Raw:
    """The object of a line; a reason; "" where the line is blank."""
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "line is not UTF-8"
    if not text:
        return ""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return "bad JSON line"
    return raw if isinstance(raw, dict) else "line is not a JSON object"


def csv_rows(
    path: Path, data: IO[bytes], check: Callable[[Path, Sequence[str]], Sequence[str]]
) -> Iterator[tuple[int, Raw]]:
    """The rows of a CSV file, or reasons, with their lines; its first line has the names.

    Raises:
        ConfigError: the first line cannot be taken apart, or ``check`` does not like the names.
    """
    csv.field_size_limit(_LONGEST_CELL)
    # What is not UTF-8 becomes half characters, which no prompt may have.
    text = io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape", newline="")
    # In pieces: a line of gigabytes is not held in memory.
    reader = csv.DictReader(iter(lambda: text.readline(_LONGEST_CELL), ""))
    try:
        names = reader.fieldnames
    except csv.Error:
        raise ConfigError(f"{path} is not CSV: its first line cannot be taken apart") from None
    if names is None:
        return
    check(path, names)
    while True:
        try:
            raw = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, "bad CSV row"
            continue
        yield reader.line_num, raw
