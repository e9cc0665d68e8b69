"""Files of rows as streams of raw rows: JSON lines, CSV and Parquet, in memory that does not grow with the file.

What is wrong with a line is a reason to count (a ``str`` in the stream); what is wrong with a file is an error.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

from rankd.datafiles.documents import document_rows
from rankd.datafiles.lines import csv_rows, json_lines
from rankd.datafiles.parquet import BATCH_ROWS, parquet_rows
from rankd.datafiles.values import Raw
from rankd.errors import ConfigError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".csv.gz", ".csv.zst", ".parquet")
DOCUMENTS = (".json", ".json.gz", ".json.zst")
"""Documents with rows in them, which only those read who ask for it: a folder may hold any JSON."""

Check = Callable[[Path, Sequence[str]], Sequence[str]]
"""From a file and its columns to those to read, or ConfigError; not called for JSON lines, which have no columns."""

_REMEDY = f"rows are read from {', '.join(SUFFIXES)}, directories and globs of them, and completion logs"
_PACKED = {".gz": ("gzip", b"\x1f\x8b"), ".zst": ("zstd", b"\x28\xb5\x2f\xfd")}
"""By suffix, the name and how such files begin."""


def suffix_of(path: Path, *, documents: bool = False) -> str | None:
    """The suffix that says how to read a file; None where it is none of ours."""
    known = sorted((*SUFFIXES, *(DOCUMENTS if documents else ())), key=len, reverse=True)
    return next((s for s in known if path.name.lower().endswith(s)), None)


def stem_of(path: Path) -> str:
    """The name without its suffix."""
    return path.name[: -len(suffix_of(path) or "")] if suffix_of(path) else path.stem


def place_of(path: Path, number: int) -> str:
    """Where a row stands, for people: ``raw_rows`` counts lines of text and rows of Parquet."""
    suffix = suffix_of(path, documents=True)
    what = "row" if suffix == ".parquet" else "element" if suffix in DOCUMENTS else "line"
    return f"{path} {what} {number:,}"


def raw_rows(
    path: Path, check: Check, position: Callable[[int], None], *, documents: bool = False
) -> Iterator[tuple[int, Raw]]:
    """The raw rows of a file, or of a pipe, each with its line, from 1; of Parquet with its row.

    Args:
        path: its suffix says what it is, and its first bytes must agree.
        check: looks at the columns of CSV and Parquet.
        position: called with how many bytes of the file are read, now and then.
        documents: read ``DOCUMENTS`` too.

    Raises:
        ConfigError: the file cannot be read, or is not what its name says.
    """
    suffix = suffix_of(path, documents=documents)
    if suffix is None:
        more = f" (and {', '.join(DOCUMENTS)})" if documents else ""
        raise ConfigError(f"{path}: {_REMEDY}{more}; rename it if it is one of these")
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            _check_start(path, suffix, file.peek(4)[:4])
            if suffix == ".parquet":
                yield from parquet_rows(path, check, position)
                return
            data = _unpacked(path, suffix, file)
            rows = _rows(path, suffix, data, check)
            for number, row in enumerate(_until_cut(rows, is_zstd=suffix.endswith(".zst"))):
                if number % BATCH_ROWS == 0 and file.seekable():
                    position(file.tell())
                yield row
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None


def _rows(path: Path, suffix: str, data: IO[bytes], check: Check) -> Iterator[tuple[int, Raw]]:
    if suffix in DOCUMENTS:
        return document_rows(path, data)
    return json_lines(path, data) if suffix.startswith(".jsonl") else csv_rows(path, data, check)


def _unpacked(path: Path, suffix: str, file: IO[bytes]) -> IO[bytes]:
    if suffix.endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if not suffix.endswith(".zst"):
        return file
    try:
        import pyarrow as pa  # noqa: PLC0415 - only for those who have such files
    except ImportError:
        raise ConfigError(f"{path}: reading zstd needs the extra: pip install 'rankd[log]'") from None
    stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    return io.BufferedReader(stream, 2**20)


def _check_start(path: Path, suffix: str, start: bytes) -> None:
    if not start:
        return
    for ending, (name, begins) in _PACKED.items():
        is_packed = start.startswith(begins)
        if is_packed and not suffix.endswith(ending):
            raise ConfigError(f"{path} is {name}, which its name does not say: add {ending} to its name")
        if suffix.endswith(ending) and not is_packed:
            raise ConfigError(f"{path} is not {name}, though its name says so: take {ending} off its name")
    if (start == b"PAR1") != (suffix == ".parquet"):
        says = "is not Parquet, though its name says so" if suffix == ".parquet" else "is Parquet: name it .parquet"
        raise ConfigError(f"{path} {says}")


def _until_cut(rows: Iterator[tuple[int, Raw]], *, is_zstd: bool) -> Iterator[tuple[int, Raw]]:
    """Rows up to where a packed file breaks off or is damaged, and then the reason."""
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
        except OSError:
            if not is_zstd:
                raise
            yield line + 1, "file breaks off or is damaged (zstd); the rows before are used"
            return
        yield line, raw
