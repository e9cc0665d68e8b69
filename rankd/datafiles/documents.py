"""Rows in JSON documents: an array of objects, a page of an API, several documents in a file, or columns in an object.

An array is read element by element, in memory that does not grow with it. Whatever else stands in a file is held as a
whole, which is bounded.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rankd.datafiles.values import Raw
from rankd.errors import ConfigError

LONGEST_DOCUMENT = 256 * 2**20
"""Characters of an element, or of a document that is no array."""
_PIECE = 2**18
_LEAST_COLUMNS = 2
"""Lists of numbers of one length that make an object one of columns: input and output lengths."""
_PAGES = ("data", "items", "results", "observations")
"""Fields in which APIs put the rows of a page."""


def document_rows(path: Path, data: IO[bytes]) -> Iterator[tuple[int, Raw]]:
    """The objects of a file, or reasons, with their numbers from 1.

    An object of lists of one length is a row for each of their places, as of vLLM's benchmark results; of one with a
    list of objects in `data`, as of an API's page, these are the rows.

    Raises:
        ConfigError: the file is no JSON, or something in it is too long.
    """
    number = 0
    for value in _values(path, data):
        for row in _rows(value):
            number += 1
            yield number, row


def _rows(value: Any) -> Iterator[Raw]:
    if not isinstance(value, Mapping):
        yield "element is not a JSON object"
        return
    page = next((value[name] for name in _PAGES if _is_page(value.get(name))), None)
    if page is not None:
        for row in page:
            yield from _rows(row)
        return
    lists = {name: cells for name, cells in value.items() if isinstance(cells, list) and cells}
    size = max(map(len, lists.values()), default=0)
    columns = {name: cells for name, cells in lists.items() if len(cells) == size}
    if sum(_are_numbers(cells) for cells in columns.values()) < _LEAST_COLUMNS:
        yield value
        return
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def _are_numbers(cells: list[Any]) -> bool:
    return all(isinstance(cell, int | float) for cell in cells)


def _is_page(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _values(path: Path, data: IO[bytes]) -> Iterator[Any]:
    """The documents of a file; of an array its elements."""
    text = _Text(path, data)
    while text.skip():
        if text.next() != "[":
            yield text.decode()
            continue
        text.advance(1)
        while text.skip(",") and text.next() != "]":
            yield text.decode()
        if not text.skip():
            raise ConfigError(f"{path} is not JSON: its array has no end")
        text.advance(1)


class _Text:
    """A file's text, a piece of it at a time."""

    def __init__(self, path: Path, data: IO[bytes]) -> None:
        self._path, self._data = path, data
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._buffer, self._at, self._ended = "", 0, False

    def next(self) -> str:
        """The character that is next."""
        return self._buffer[self._at]

    def advance(self, count: int) -> None:
        """Leave characters behind."""
        self._at += count

    def skip(self, also: str = "") -> bool:
        """Leave blanks behind; False at the end of the file."""
        while True:
            while self._at < len(self._buffer):
                if not (self._buffer[self._at].isspace() or self._buffer[self._at] in also):
                    return True
                self._at += 1
            if not self._read(_PIECE):
                return False

    def decode(self) -> Any:
        """The value that is next."""
        while True:
            try:
                value, end = self._json.raw_decode(self._buffer, self._at)
            except (ValueError, RecursionError):
                held = len(self._buffer) - self._at
                if held > LONGEST_DOCUMENT:
                    message = f"{self._path}: more than {LONGEST_DOCUMENT:,} characters are no JSON value"
                    raise ConfigError(message) from None
                # Twice as much, so that a long one is not begun anew for every piece.
                if not self._read(max(_PIECE, held)):
                    raise ConfigError(f"{self._path} is not JSON, or breaks off") from None
                continue
            self._at = end
            return value

    def _read(self, size: int) -> bool:
        if self._ended:
            return False
        data = self._data.read(size)
        self._ended = not data
        try:
            more = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError:
            raise ConfigError(f"{self._path} is not UTF-8") from None
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        return bool(more) or not self._ended
