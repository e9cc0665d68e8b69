"""Files of rows as streams of raw rows: JSON lines, CSV and Parquet, in memory that does not grow with the file.

What is wrong with a line is a reason to count (a ``str`` in the stream); what is wrong with a file is an error.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

from rankd.errors import ConfigError

Raw = Mapping[str, Any] | str
"""Fields of a row by name, or the reason why a line is no row."""

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
LONGEST_LINE = 64 * 2**20
"""Bytes of a line that are read; a longer one is skipped."""

LONGEST_PROMPT = 65_536
"""Characters kept of a prompt, half from its head and half from its tail; no ranker reads as much."""

Check = Callable[[Path, Sequence[str]], Sequence[str]]
"""From a file and its columns to those to read, or ConfigError; not called for JSON lines, which have no columns."""

_LONGEST_CELL = 16 * 2**20
_BATCH_ROWS = 1024
_REMEDY = f"rows are read from {', '.join(SUFFIXES)}, directories and globs of them, and completion logs"


class UnusableRowError(ValueError):
    """A row cannot be used; the message is the reason it is counted under, and never holds what was in the row."""


def cut_prompt(prompt: str) -> str:
    """Head and tail of a prompt that is longer than ``LONGEST_PROMPT``."""
    if len(prompt) <= LONGEST_PROMPT:
        return prompt
    return prompt[: LONGEST_PROMPT // 2] + prompt[-(LONGEST_PROMPT // 2) :]


def suffix_of(path: Path) -> str | None:
    """The suffix that says how to read a file; None where it is none of ours."""
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None)


def stem_of(path: Path) -> str:
    """The name without its suffix."""
    return path.name[: -len(suffix_of(path) or "")] if suffix_of(path) else path.stem


def raw_rows(path: Path, check: Check, position: Callable[[int], None]) -> Iterator[tuple[int, Raw]]:
    """The raw rows of a file, or of a pipe, each with its line, from 1; of Parquet with its row.

    Args:
        path: its suffix says what it is, and its first bytes must agree.
        check: looks at the columns of CSV and Parquet.
        position: called with how many bytes of the file are read, now and then.

    Raises:
        ConfigError: the file cannot be read, or is not what its name says.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise ConfigError(f"{path}: {_REMEDY}; rename it if it is one of these")
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            _check_start(path, suffix, file.peek(4)[:4])
            if suffix == ".parquet":
                yield from _parquet(path, check, position)
                return
            data: IO[bytes] = file
            if suffix.endswith(".gz"):
                data = cast("IO[bytes]", gzip.GzipFile(fileobj=file))
            rows = _json_lines(path, data) if suffix.startswith(".jsonl") else _csv(path, data, check)
            for number, row in enumerate(_until_cut(rows)):
                if number % _BATCH_ROWS == 0 and file.seekable():
                    position(file.tell())
                yield row
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None


def _check_start(path: Path, suffix: str, start: bytes) -> None:
    is_gzip, is_parquet = start[:2] == b"\x1f\x8b", start == b"PAR1"
    if not start:
        return
    if is_gzip != suffix.endswith(".gz"):
        is_, remedy = ("is gzip", "add .gz to its name") if is_gzip else ("is not gzip", "take .gz off its name")
        raise ConfigError(f"{path} {is_}, which its name does not say: {remedy}" if is_gzip else
                          f"{path} {is_}, though its name says so: {remedy}")  # fmt: skip
    if is_parquet != (suffix == ".parquet"):
        says = "is Parquet: name it .parquet" if is_parquet else "is not Parquet, though its name says so"
        raise ConfigError(f"{path} {says}")


def _until_cut(rows: Iterator[tuple[int, Raw]]) -> Iterator[tuple[int, Raw]]:
    """Rows up to where a gzip file breaks off or is damaged, and then the reason."""
    line = 0
    while True:
        try:
            line, raw = next(rows)
        except StopIteration:
            return
        except EOFError:
            yield line + 1, "file breaks off (gzip is cut); the rows before are used"
            return
        except (zlib.error, gzip.BadGzipFile):
            yield line + 1, "file is damaged (gzip); the rows before are used"
            return
        yield line, raw


# -- JSON lines --------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, data: IO[bytes]) -> Iterator[tuple[int, Raw]]:
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


# -- CSV ---------------------------------------------------------------------------------------------------------------


def _csv(path: Path, data: IO[bytes], check: Check) -> Iterator[tuple[int, Raw]]:
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


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _parquet(path: Path, check: Check, position: Callable[[int], None]) -> Iterator[tuple[int, Raw]]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - only for those who have Parquet files
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs the extra: pip install 'rankd[log]'") from None
    # Not pyarrow.dataset: it holds a whole row group, 538 MB where this takes 46 (60,000 prompts of 4,500 characters).
    size = os.stat(path).st_size  # noqa: PTH116 - a path may be a mount
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            wanted = check(path, file.schema_arrow.names)
            rows = max(1, file.metadata.num_rows)
            done = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(wanted)):
                yield from enumerate(_cells(batch), done + 1)
                done += batch.num_rows
                position(size * done // rows)
    except pa.ArrowInvalid:
        raise ConfigError(f"{path} is damaged: it cannot be read as Parquet; make it anew") from None


def _cells(batch: Any) -> Iterator[Raw]:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[name] = column.to_pylist()
        except UnicodeDecodeError:  # a string column that holds no UTF-8: cell by cell
            columns[name] = [_cell(cell) for cell in column]
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _cell(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes()
