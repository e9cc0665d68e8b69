"""Rows to learn from: read from any number of files in bounded memory, counted, checked and split."""

from __future__ import annotations

import glob
import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rankd.datafiles import LONGEST_PROMPT, UnusableRowError, cut_prompt
from rankd.errors import ConfigError
from rankd.training.data.completion_log import CompletionLogFiles, find_log
from rankd.training.data.formats import SUFFIXES, place_of, raw_rows, stem_of, suffix_of
from rankd.training.data.row import LENGTH_FIELDS, NEAR_CAP, Row, row_of

__all__ = ["NEAR_CAP", "Dataset", "Row", "check_learnable", "read_dataset", "split"]

MOST_CHARACTERS = 2**29
"""Characters of prompts kept in all; where rows are so long that they come to more, fewer rows are kept."""

Progress = Callable[[int, int], None]
"""Called with how many bytes are read, of how many; 0 where that is unknown."""


@dataclass
class Dataset:
    """What was read."""

    rows: list[Row] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows that are not in it, by reason; not those that were left out by drawing."""
    first: dict[str, str] = field(default_factory=dict)
    """By reason, the file and line where it was met first."""
    unknown_reasons: int = 0
    """Usable rows whose finish reason is not known, so that their length counts as a lower bound."""
    read: int = 0
    """Rows seen."""
    files: int = 0
    cut: int = 0
    """Usable rows whose prompt was cut to head and tail, ``LONGEST_PROMPT`` characters in all."""


class Reservoir:
    """A uniform draw from a stream of unknown length, bounded in rows and in characters.

    Every row gets a random number, and those with the smallest stay: unlike a reservoir of slots this stays uniform
    when the bound falls because rows are long.
    """

    def __init__(self, most: int, characters: int, seed: int) -> None:
        """Bound it."""
        self._most = most
        self._characters = characters
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._heap: list[tuple[float, int, Row]] = []
        self._characters_now = 0
        self._count = 0
        self._limit = 1.0

    def add(self, row: Row) -> None:
        """Offer a row."""
        self._count += 1
        number = self._random.random()
        if number >= self._limit:
            return
        heapq.heappush(self._heap, (-number, self._count, row))
        self._characters_now += len(row.prompt)
        while len(self._heap) > self._most or (self._characters_now > self._characters and len(self._heap) > 1):
            largest, _, gone = heapq.heappop(self._heap)
            self._limit = -largest
            self._characters_now -= len(gone.prompt)

    def rows(self) -> list[Row]:
        """What stayed, in the order of the stream."""
        return [row for _, _, row in sorted(self._heap, key=lambda entry: entry[1])]


class FirstRows:
    """The first rows of a stream, bounded as ``Reservoir`` is: neighbours stay neighbours."""

    def __init__(self, most: int, characters: int) -> None:
        """Bound them."""
        self._most, self._characters = most, characters
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Offer a row."""
        if len(self._rows) < self._most and self._characters >= len(row.prompt):
            self._characters -= len(row.prompt)
            self._rows.append(row)

    def rows(self) -> list[Row]:
        """What was taken, in the order of the stream."""
        return self._rows


def read_dataset(
    paths: Sequence[Path],
    *,
    most: int = 200_000,
    seed: int = 0,
    model: str | None = None,
    caps: Mapping[str, int] | None = None,
    first: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read rows, a seeded draw of ``most`` of them where there are more.

    Args:
        paths: files, directories, globs and completion logs (directories or object-store URLs).
        most: rows to keep.
        seed: of the draw.
        model: take only rows that this model answered.
        caps: tokens at which answers were cut, by source or file stem. Rows that reach it are lower bounds, and so are
            those near it (``NEAR_CAP``) with ``no_final_punct``.
        first: take the first ``most`` instead of a draw; of a completion log its draw, in the order in which they
            ended.
        on_progress: called with the bytes read so far.

    Raises:
        ConfigError: a path that is not there or cannot be read, or no usable row, with the counts.
    """
    sources = list(_sources(paths))
    total = sum(s.size if isinstance(s, CompletionLogFiles) else _size(s) for s in sources)
    dataset, done = Dataset(files=len(sources)), 0
    reservoir = FirstRows(most, MOST_CHARACTERS) if first else Reservoir(most, MOST_CHARACTERS, seed)
    for source in sources:

        def report_position(position: int, before: int = done) -> None:
            if on_progress is not None:
                on_progress(min(before + position, total), total)

        if isinstance(source, CompletionLogFiles):
            rows: Iterable[tuple[str, Row | str]] = (
                (source.name, row) for row in source.rows(most, seed, model, report_position, in_order=first)
            )
        else:
            rows = _file_rows(source, caps or {}, report_position)
        _take(rows, dataset, reservoir, model)
        done += source.size if isinstance(source, CompletionLogFiles) else _size(source)
    if on_progress is not None:
        on_progress(done, total)
    dataset.rows = reservoir.rows()
    if not dataset.rows:
        raise ConfigError(_nothing(dataset, paths))
    return dataset


def _take(
    rows: Iterable[tuple[str, Row | str]], dataset: Dataset, reservoir: Reservoir | FirstRows, model: str | None
) -> None:
    for place, row in rows:
        dataset.read += not (isinstance(row, str) and row.startswith("file "))
        if isinstance(row, str):
            dataset.skipped[row] += 1
            dataset.first.setdefault(row, place)
        elif model is not None and row.model != model:
            dataset.skipped["answered by another model"] += 1
        else:
            dataset.unknown_reasons += not row.is_reason_known
            if len(row.prompt) > LONGEST_PROMPT:
                dataset.cut += 1
                row = replace(row, prompt=cut_prompt(row.prompt))  # noqa: PLW2901 - the same row, shorter
            reservoir.add(row)


def _file_rows(path: Path, caps: Mapping[str, int], position: Callable[[int], None]) -> Iterator[tuple[str, Row | str]]:
    """Rows, or reasons, with where those stand."""
    stem = stem_of(path)
    for number, raw in raw_rows(path, position):
        if isinstance(raw, str):
            yield place_of(path, number), raw
            continue
        try:
            row = row_of(raw, stem, caps)
        except UnusableRowError as reason:
            yield place_of(path, number), str(reason)
            continue
        yield "", row


def _nothing(dataset: Dataset, paths: Sequence[Path]) -> str:
    where = ", ".join(str(p) for p in paths[:3]) + (", ..." if len(paths) > 3 else "")
    if not dataset.read:
        return f"no rows in {where}: each needs `prompt` and `{'` or `'.join(LENGTH_FIELDS[:2])}`"
    counts = skipped_text(dataset, 8)
    return (
        f"no usable row among {dataset.read:,} in {where}: {counts}. "
        f"Each needs `prompt` and `{'` or `'.join(LENGTH_FIELDS[:2])}`"
    )


def skipped_text(dataset: Dataset, most: int) -> str:
    """Why rows were skipped, for people: the most frequent reasons, each with the first place where it was met."""
    return ", ".join(
        f"{count:,} {reason}" + (f" (first: {dataset.first[reason]})" if reason in dataset.first else "")
        for reason, count in dataset.skipped.most_common(most)
    )


def bounds_text(dataset: Dataset) -> str:
    """What was taken for granted of rows whose finish reason is not known; empty where there are none."""
    n = dataset.unknown_reasons
    return f"{n:,} with an unknown finish_reason, taken for lower bounds" if n else ""


def _sources(paths: Sequence[Path]) -> Iterator[Path | CompletionLogFiles]:
    """Files and completion logs, each once, in the order given and by name within a directory."""
    seen: set[str] = set()
    for given in paths:
        for found in _expand(given):
            name = found.name if isinstance(found, CompletionLogFiles) else str(found.absolute())
            if name not in seen:
                seen.add(name)
                yield found


def _expand(path: Path) -> Iterator[Path | CompletionLogFiles]:
    if (log := find_log(path)) is not None:
        yield log
        return
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if suffix_of(p) and not p.name.startswith("."))
        if not files:
            raise ConfigError(f"{path} holds no {', '.join(SUFFIXES)} file, and is no completion log")
        yield from files
    elif path.exists():
        yield path
    elif found := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        for name in found:
            yield from _expand(Path(name)) if Path(name).is_dir() else [Path(name)]
    else:
        raise ConfigError(f"{path}: no such file or directory")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Split by prompt: prompts that are equal but for case and outer white space are never on both sides.

    Args:
        rows: any.
        share: of the prompts that goes to the second side; at least one does, where there are two.
        seed: of the draw, which does not depend on the order of rows.

    Returns:
        (for training, for validation), each in the order of ``rows``.
    """
    places: dict[bytes, None] = {}
    keys = [_prompt_key(row.prompt, seed) for row in rows]
    places.update(dict.fromkeys(sorted(keys)))
    wanted = round(share * len(places))
    if share > 0 and len(places) > 1:
        wanted = min(max(1, wanted), len(places) - 1)
    held_out = set(list(places)[:wanted])
    train = [row for row, key in zip(rows, keys, strict=True) if key not in held_out]
    return train, [row for row, key in zip(rows, keys, strict=True) if key in held_out]


def _prompt_key(prompt: str, seed: int) -> bytes:
    text = prompt.strip().casefold().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, salt=str(seed)[:16].encode()).digest()


def check_learnable(rows: Sequence[Row]) -> None:
    """Make sure that the order of some pair is known, without which there is nothing to learn.

    Raises:
        ConfigError: saying what is wrong with the rows and what to do.
    """
    if not rows:
        raise ConfigError("no rows to learn from")
    shortest: dict[tuple[str, str], int] = {}
    longest: dict[tuple[str, str], int] = {}
    for row in rows:
        longest[row.group] = max(longest.get(row.group, 0), row.tokens)
        if row.complete:
            shortest[row.group] = min(shortest.get(row.group, row.tokens), row.tokens)
    if any(tokens < longest[group] for group, tokens in shortest.items()):
        return
    if not shortest:
        raise ConfigError(
            f"all {len(rows):,} answers were cut off, so that none is known to be shorter than another: "
            "log answers that ended by themselves (finish_reason stop), or with a higher max_tokens"
        )
    if len(set(longest.values())) == 1 and len({r.tokens for r in rows}) == 1:
        raise ConfigError(
            f"all {len(rows):,} answers have the same length, {rows[0].tokens:,} tokens, so that there is no order to "
            "learn: check that the length field holds output tokens, and that the model was not run with a fixed length"
        )
    raise ConfigError(
        f"no two answers of the same source and model have lengths of known order, in {len(rows):,} rows of "
        f"{len(longest):,} sources and models: give more rows of each, or leave `source` and `model` out"
    )
