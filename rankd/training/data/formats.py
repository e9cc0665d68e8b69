"""Rows to learn from in files of any format: which fields they have, and files in which many models answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankd import datafiles as rows
from rankd.datafiles import SUFFIXES, Raw, flattened, place_of, stem_of, suffix_of
from rankd.datafiles.shapes import PROMPT_TOKENS_FIELDS, SHAPE_FIELDS, TIME_FIELDS
from rankd.errors import ConfigError
from rankd.training.data.row import LENGTH_FIELDS

__all__ = ["SUFFIXES", "Raw", "place_of", "raw_rows", "stem_of", "suffix_of"]

_FIELDS = (
    "prompt", *LENGTH_FIELDS, "model", "finish_reason", "ignore_eos", "length_is_complete", "samples", "source",
    "no_final_punct", "max_tokens", "tenant", *SHAPE_FIELDS, *PROMPT_TOKENS_FIELDS, *TIME_FIELDS,
)  # fmt: skip


def raw_rows(path: Path, position: Callable[[int], None]) -> Iterator[tuple[int, Raw]]:
    """The raw rows of a file, or of a pipe, each with its line or row.

    Args:
        path: its suffix says what it is, and its first bytes must agree.
        position: called with how many bytes of the file are read, now and then.

    Raises:
        ConfigError: the file cannot be read, or is not what its name says.
    """
    json_lines = (suffix_of(path) or "").startswith(".jsonl")
    first, models = True, None
    for number, raw in rows.raw_rows(path, _check_columns, position):
        if json_lines and first and isinstance(raw, Mapping) and "prompt" not in raw and _is_list(raw.get("models")):
            models = [m if isinstance(m, str) else "" for m in raw["models"]]
        elif models is not None and isinstance(raw, Mapping):
            for one in _wide(raw, models):
                yield number, one
        else:
            yield number, flattened(raw, "usage") if json_lines and isinstance(raw, Mapping) else raw
        first = False


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _wide(raw: Mapping[str, Any], models: list[str]) -> Iterator[Raw]:
    """A prompt that many models answered, as a row per model that did."""
    lengths = raw.get("output_tokens", raw.get("output_token_count"))
    if not _is_list(lengths) or len(lengths) != len(models):
        yield "lengths are not parallel to the models of the first line"
        return
    for model, length in zip(models, lengths, strict=True):
        if length is not None:
            yield {**raw, "model": model, "output_tokens": length}


def _check_columns(path: Path, names: Sequence[str]) -> list[str]:
    found = ", ".join(n[:40] for n in names[:12])
    if "prompt" not in names:
        raise ConfigError(f"{path} has no column `prompt` (it has: {found})")
    if not any(name in names for name in LENGTH_FIELDS):
        raise ConfigError(f"{path} has no column `{'` or `'.join(LENGTH_FIELDS[:2])}` (it has: {found})")
    return [n for n in _FIELDS if n in names]
