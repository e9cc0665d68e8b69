"""The newest completions with their prompts, for comparing candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rankd.completion_log.records import CompletionRow, LoggedCompletion, PromptRow, SegmentKind, micros
from rankd.completion_log.segments import (
    COMPLETION_COLUMNS,
    completions_of,
    joined,
    key_of,
    keys_of,
    pick,
    tables,
    times_of,
)
from rankd.completion_log.store import Segment, SegmentStore

_MOST_READ = 64
"""Completions read for each that is wanted, before an unlucky search ends."""
_LONGEST_ANSWER = 3600.0
"""Seconds before the oldest arrival from which prompts are looked for: engines may not tell arrivals."""

Unwritten = Mapping[SegmentKind, Sequence[PromptRow | CompletionRow]]


def newest(
    store: SegmentStore, unwritten: Unwritten, most: int, model: str | None, below: bytes
) -> list[LoggedCompletion]:
    """The last ``most`` completions that have a prompt, in the order in which they ended.

    Args:
        store: with the segments of all replicas; one that cannot be read counts as empty.
        unwritten: rows of this daemon that are in no segment yet.
        most: how many.
        model: of one served model; None is all.
        below: bound of sampled requests; others have no prompt.
    """
    segments = _segments(store)
    ended = _completions(store, segments, unwritten[SegmentKind.COMPLETIONS], most, model, below)
    if not ended:
        return []
    prompts = _PromptsByCompletion(ended)
    prompts.take(
        (r.request, micros(r.seen_at), r.prompt) for r in unwritten[SegmentKind.PROMPTS] if isinstance(r, PromptRow)
    )
    prompts.read(store, segments)
    found = [joined(row, prompt) for request, row in ended.items() if (prompt := prompts.of(request)) is not None]
    return sorted(found, key=lambda j: j.ended_at)[-most:]


def _segments(store: SegmentStore) -> list[Segment]:
    try:
        return store.segments()
    except Exception:  # noqa: BLE001 - whatever a store raises; what is in memory is used
        return []


def _completions(
    store: SegmentStore,
    segments: Sequence[Segment],
    unwritten: Sequence[PromptRow | CompletionRow],
    most: int,
    model: str | None,
    below: bytes,
) -> dict[bytes, CompletionRow]:
    """By request, the newest completions that may have a prompt: more than ``most``, as not all will."""
    found: dict[bytes, CompletionRow] = {}

    def take(rows: Iterable[CompletionRow]) -> None:
        for row in rows:
            if row.request < below and model in (None, row.model):
                earlier = found.setdefault(row.request, row)
                found[row.request] = max(earlier, row, key=lambda r: r.ended_at)

    take(row for row in unwritten if isinstance(row, CompletionRow))
    rows_read = 0
    for segment in (s for s in reversed(segments) if s.kind is SegmentKind.COMPLETIONS):
        if len(found) >= 2 * most or rows_read >= _MOST_READ * most:
            break
        for table in tables(store, segment, COMPLETION_COLUMNS):
            rows_read += table.num_rows
            take(completions_of(table))
    newest_first = sorted(found.items(), key=lambda item: -item[1].ended_at)
    return dict(newest_first[: 2 * most])


class _PromptsByCompletion:
    """The prompts of some completions."""

    def __init__(self, ended: Mapping[bytes, CompletionRow]) -> None:
        self._ended = ended
        self._seen: dict[bytes, dict[int, str]] = {}
        self._missing = set(ended)

    def of(self, request: bytes) -> str | None:
        """The prompt of a completion, where it is known."""
        seen = self._seen.get(request, {})
        time = pick(sorted(seen), micros(self._ended[request].ended_at))
        return None if time is None else seen[time]

    def take(self, rows: Iterable[tuple[bytes, int, str]]) -> None:
        """Take prompts with the time they were seen at, as far as they are wanted."""
        for request, seen, prompt in rows:
            if (row := self._ended.get(request)) is not None:
                self._seen.setdefault(request, {})[seen] = prompt
                if seen <= micros(row.ended_at):
                    self._missing.discard(request)

    def read(self, store: SegmentStore, segments: Sequence[Segment]) -> None:
        """Look through segments, the newest first, until all prompts are found or they are too old."""
        since = min(row.arrival for row in self._ended.values()) - _LONGEST_ANSWER
        keys = np.array(sorted(map(key_of, self._ended)), dtype=np.uint64)
        for segment in reversed(segments):
            if not self._missing or segment.written_at < since:
                return
            if segment.kind is SegmentKind.PROMPTS and any(
                np.isin(keys_of(table), keys).any() for table in tables(store, segment, ["request"])
            ):
                self._read(store, segment, keys)

    def _read(self, store: SegmentStore, segment: Segment, keys: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
        for table in tables(store, segment, ["request", "seen_at", "prompt"]):
            part = table.take(np.flatnonzero(np.isin(keys_of(table), keys)))
            columns = part["request"].to_pylist(), times_of(part, "seen_at").tolist(), part["prompt"].to_pylist()
            self.take(zip(*columns, strict=True))
