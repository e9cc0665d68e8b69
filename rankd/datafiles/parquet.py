"""Rows of Parquet files, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rankd.datafiles.values import Raw
from rankd.errors import ConfigError

BATCH_ROWS = 1024


def parquet_rows(
    path: Path, check: Callable[[Path, Sequence[str]], Sequence[str]], position: Callable[[int], None]
) -> Iterator[tuple[int, Raw]]:
    """The rows, with their numbers from 1. The fields of a struct are columns too, as ``usage.output_tokens``.

    Raises:
        ConfigError: there is no pyarrow, or what it cannot read in the file, or ``check`` does not like the columns.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - only for those who have Parquet files
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs the extra: pip install 'rankd[log]'") from None
    # Not pyarrow.dataset: it holds a whole row group, 538 MB where this takes 46 (60,000 prompts of 4,500 characters).
    size = os.stat(path).st_size  # noqa: PTH116 - a path may be a mount
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            wanted = list(check(path, _names(file.schema_arrow)))
            rows = max(1, file.metadata.num_rows)
            done = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                yield from enumerate(_rows(batch, wanted), done + 1)
                done += batch.num_rows
                position(size * done // rows)
    except pa.ArrowNotImplementedError as error:
        raise ConfigError(f"{path} has what pyarrow {pa.__version__} cannot read ({_line(error)}): write it anew with "
                          "plain types and another codec") from None  # fmt: skip
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of what is on it
            raise
        raise ConfigError(f"{path} is damaged: it cannot be read as Parquet; make it anew") from None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:100]


def _names(schema: Any) -> list[str]:
    import pyarrow as pa  # noqa: PLC0415 - loaded already

    names = []
    for field in schema:
        names.append(field.name)
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{child.name}" for child in field.type]
    return names


def _rows(batch: Any, wanted: Sequence[str]) -> Iterator[Raw]:
    from rankd.datafiles.arrow_values import plain_values  # noqa: PLC0415 - needs pyarrow

    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        inner = [w for w in wanted if w.startswith(f"{name}.")]
        values = plain_values(column)
        if name in wanted:
            columns[name] = values
        for path in inner:
            key = path.removeprefix(f"{name}.")
            columns[path] = [v.get(key) if isinstance(v, dict) else None for v in values]
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))
