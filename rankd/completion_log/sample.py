"""A draw of joined rows from a log of any size, in bounded memory, for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.completion_log.records import CompletionRow, LoggedCompletion, SegmentKind, micros
from rankd.completion_log.segments import (
    COMPLETION_COLUMNS,
    Keys,
    completions_of,
    joined,
    keys_of,
    pick,
    tables,
    times_of,
)
from rankd.completion_log.store import Segment, SegmentStore

_SLACK = 4
"""Prompts kept in a draw for each row wanted: not all of them have completions."""

Place = tuple[int, int]
"""Of a prompt: its key, and when it was seen."""


@dataclass(slots=True)
class JoinedSample:
    """Joined rows, drawn by request.

    A request is in the draw if its hash, masked by the seed, is under a bound that falls as requests are found: so
    prompts and completions agree on the draw without ever being in memory together.
    """

    store: SegmentStore
    most: int
    """At least so many rows are given, where there are so many; about twice as many at most."""
    seed: int
    model: str | None
    counts: Counter[str]
    """What is not in it, by reason."""
    on_progress: Callable[[float], None]
    """Called with the share that is done."""

    def rows(self) -> Iterator[LoggedCompletion]:
        """Read the log three times: which prompts there are, what became of them, and their text."""
        segments = self.store.segments()
        prompts = [s for s in segments if s.kind is SegmentKind.PROMPTS]
        completions = [s for s in segments if s.kind is SegmentKind.COMPLETIONS]
        mask = np.uint64((self.seed * 0x9E3779B97F4A7C15) % 2**64)
        ended = self._ended(completions, mask, *self._seen(prompts, mask))
        yield from self._texts(prompts, mask, ended)
        if ended:
            self.counts["prompt vanished while it was read"] += len(ended)

    def _seen(self, segments: Sequence[Segment], mask: np.uint64) -> tuple[Keys, NDArray[np.int64], np.uint64]:
        """Keys of prompts and when they were seen, sorted, and the bound of the keys that are in the draw."""
        limit, bound = _SLACK * self.most, np.uint64(2**64 - 1)
        keys, times = np.empty(0, np.uint64), np.empty(0, np.int64)
        for table in self._read(segments, ["request", "seen_at"], 0.0, 0.2):
            new = keys_of(table) ^ mask
            under = new <= bound
            keys = np.concatenate([keys, new[under]])
            times = np.concatenate([times, times_of(table, "seen_at")[under]])
            if len(keys) > 2 * limit:
                bound = np.partition(keys, limit)[limit]
                keys, times = keys[keys <= bound], times[keys <= bound]
        order = np.lexsort((times, keys))
        return keys[order], times[order], bound

    def _ended(
        self, segments: Sequence[Segment], mask: np.uint64, keys: Keys, seen: NDArray[np.int64], bound: np.uint64
    ) -> dict[Place, CompletionRow]:
        """By place of the prompt, its completion."""
        starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]) != 0).tolist()
        times = {int(keys[a]): seen[a:b].tolist() for a, b in pairwise([*starts, len(keys)])}
        found: dict[Place, CompletionRow] = {}
        for table in self._read(segments, COMPLETION_COLUMNS, 0.2, 0.5):
            masked = keys_of(table) ^ mask
            here = np.flatnonzero(masked <= bound)
            for key, row in zip(masked[here].tolist(), completions_of(table.take(here)), strict=True):
                self._match(found, times.get(key, []), key, row)
            if len(found) > 2 * self.most:
                bound = np.partition(np.array([k for k, _ in found], dtype=np.uint64), self.most)[self.most]
                found = {place: row for place, row in found.items() if place[0] <= bound}
        return found

    def _match(self, found: dict[Place, CompletionRow], times: list[int], key: int, row: CompletionRow) -> None:
        if self.model is not None and row.model != self.model:
            self.counts["answered by another model"] += 1
            return
        at = pick(times, micros(row.ended_at))
        if at is None:
            self.counts["completion without a prompt"] += 1
            return
        earlier = found.setdefault((key, at), row)
        if earlier is not row:
            # Reported twice, perhaps to two replicas: what is known to be complete, or longer, says more.
            self.counts["completion reported twice"] += 1
            found[key, at] = max(earlier, row, key=lambda r: (r.complete, r.tokens))

    def _texts(
        self, segments: Sequence[Segment], mask: np.uint64, ended: dict[Place, CompletionRow]
    ) -> Iterator[LoggedCompletion]:
        keys = np.array(sorted({key for key, _ in ended}), dtype=np.uint64)
        for table in self._read(segments, ["request", "seen_at", "prompt"], 0.5, 1.0):
            masked = keys_of(table) ^ mask
            here = np.flatnonzero(np.isin(masked, keys))
            part = table.take(here)
            columns = masked[here].tolist(), times_of(part, "seen_at").tolist(), part["prompt"].to_pylist()
            for key, seen, prompt in zip(*columns, strict=True):
                if (row := ended.pop((key, seen), None)) is not None:
                    yield joined(row, prompt)

    def _read(self, segments: Sequence[Segment], columns: list[str], start: float, end: float) -> Iterator[Any]:
        total, done = max(1, sum(s.size for s in segments)), 0
        for segment in segments:
            # A damaged segment is met several times and counted once.
            yield from tables(self.store, segment, columns, self.counts if start in (0.0, 0.2) else None)
            done += segment.size
            self.on_progress(start + (end - start) * done / total)
