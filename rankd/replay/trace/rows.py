"""Requests out of files of any kind and naming, or out of the completion log, one after another."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rankd.datafiles import DOCUMENTS, SUFFIXES, Raw, UnusableRowError, place_of, raw_rows, shown
from rankd.errors import ConfigError
from rankd.replay.trace.arrival import ArrivalClock
from rankd.replay.trace.completion_log import find_log, log_requests
from rankd.replay.trace.fields import TraceRequest, request_of
from rankd.replay.trace.names import BENCHMARK_SUMMARY, FIELDS, NamedColumns, canonical, columns_of
from rankd.replay.trace.nested import flat_row, has_nested, nested_in

DEFAULT_REQUESTS = 20_000


@dataclass(frozen=True, slots=True)
class TraceSelection:
    """Which requests to read."""

    paths: Sequence[Path]
    """Files, or directories of the daemon's completion log, of which the newest completions are taken."""
    most: int = DEFAULT_REQUESTS
    """Requests to take, in the order of the files."""
    unit: str | None = None
    """Of arrivals that are numbers: s, ms, us or ns; None: s, or what makes them dates of this century."""
    model: str | None = None
    """Take only requests of this served model."""
    input_tokens: int | None = None
    """Of rows that do not state theirs; None: a quarter of the prompt's characters."""
    timed: bool = True
    """Whether rows need an arrival; else those without one came with the one before."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """By `tenant`, `class` and `model` the column that tells it; an empty name for none. Without: the usual names."""


def requests_of(
    path: Path, selection: TraceSelection, clock: ArrivalClock, named: NamedColumns
) -> Iterator[tuple[str, TraceRequest | str]]:
    """Requests of a path, or reasons, with where they stand; which columns they came from is noted in ``named``.

    Raises:
        ConfigError: there is no such file, or it lacks a field, with file, line, field and remedy.
    """
    if (store := find_log(path)) is not None:
        for found in log_requests(store, selection.most, selection.model):
            yield str(path), found
        return
    if path.is_dir():
        known = ", ".join((*SUFFIXES, *DOCUMENTS))
        raise ConfigError(f"--trace {path} is a directory and no completion log: name files ({known})")
    if not path.exists():
        raise ConfigError(f"--trace {path}: no such file or directory")
    rows = _RowReader(selection, clock, named)
    for number, raw in raw_rows(path, rows.check, lambda _: None, documents=True):
        yield place_of(path, number), rows.read(raw)


class _RowReader:
    """Makes requests of the rows of one file."""

    def __init__(self, selection: TraceSelection, clock: ArrivalClock, named: NamedColumns) -> None:
        self._selection, self._clock, self._named = selection, clock, named
        self._chosen = tuple(selection.chosen.items())
        self._columns: Mapping[str, str] | None = None
        """Of all rows; None where every row has its own."""

    def check(self, file: Path, names: Sequence[str]) -> list[str]:
        """Look at the columns of CSV and Parquet; gives those to read."""
        columns = columns_of(names, self._selection.chosen)
        _check_chosen(str(file), self._selection, names)
        if has_nested(names):
            return list(dict.fromkeys((*columns.values(), *nested_in(names))))
        _check_columns(str(file), columns, names, self._selection)
        self._named.note(columns, names)
        self._columns = columns
        return list(columns.values())

    def read(self, raw: Raw) -> TraceRequest | str:
        """A request, or the reason why a row is none."""
        if isinstance(raw, str):
            return raw
        columns = self._columns
        if columns is None:
            if raw.keys() >= BENCHMARK_SUMMARY:
                return "sums of a benchmark without its requests (vllm bench serve --save-detailed has them)"
            raw = flat_row(raw)
            columns = _columns_of_row(tuple(raw), self._chosen)
            self._named.note(columns, tuple(raw))
        try:
            request = request_of(raw, columns, self._clock, timed=self._selection.timed)
        except UnusableRowError as error:
            return str(error)
        return request if self._selection.model in (None, request.model) else "answered by another model"


@functools.lru_cache(256)
def _columns_of_row(names: tuple[str, ...], chosen: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return columns_of(names, dict(chosen))


def _check_columns(file: str, columns: dict[str, str], names: Sequence[str], selection: TraceSelection) -> None:
    for needed in ("arrival", "output tokens") if selection.timed else ("output tokens",):
        if needed not in columns:
            has = ", ".join(str(n)[:40] for n in names[:12])
            remedy = ", or replay it by --burst, which needs none" if needed == "arrival" else ""
            raise ConfigError(
                f"{file} line 1: no column with {needed}: name one `{'`, `'.join(FIELDS[needed][:4])}`{remedy} "
                f"(it has: {has})"
            )


def _check_chosen(file: str, selection: TraceSelection, names: Sequence[str]) -> None:
    there = {canonical(name) for name in names}
    for field_name, column in selection.chosen.items():
        if column and canonical(column) not in there:
            has = ", ".join(str(n)[:40] for n in names[:12])
            raise ConfigError(
                f"{file} has no column {shown(column)}, which --{field_name}-column names (it has: {has})"
            )
