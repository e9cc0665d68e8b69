"""Reading segments: as columns, without those that are damaged; and which prompt a completion belongs to."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.completion_log.records import DIGEST_BYTES, CompletionRow, LoggedCompletion
from rankd.completion_log.store import Segment, SegmentStore

Keys = NDArray[np.uint64]
SKEW = 60_000_000
"""Microseconds that the clocks of two replicas may differ by, so that a completion seems older than its prompt."""

COMPLETION_COLUMNS = [
    "request", "model", "ranker_version", "score", "tokens", "complete", "arrival", "ended_at", "shape",
]  # fmt: skip
"""The last one is missing in segments that an older rankd wrote."""


def pick(times: Sequence[int], ended: int) -> int | None:
    """Of the times at which prompts of one request id were seen, sorted, the one that a completion belongs to.

    Engines may use an id again: it is the last one before the end, or the first one soon after, as clocks differ.
    """
    place = bisect_right(times, ended)
    if place:
        return times[place - 1]
    return times[0] if times and times[0] - ended <= SKEW else None


def tables(
    store: SegmentStore, segment: Segment, columns: list[str], counts: Counter[str] | None = None
) -> Iterator[Any]:
    """The segment's table; nothing where it is damaged, which is counted, or was deleted meanwhile."""
    try:
        table = store.read(segment.name, columns)
        if table["request"].type.byte_width != DIGEST_BYTES:
            raise ValueError  # noqa: TRY301 - damaged like the others
    except FileNotFoundError:
        return
    except Exception:  # noqa: BLE001 - whatever a damaged file, or a store that is gone, makes pyarrow raise
        if counts is not None:
            counts["segment is damaged"] += 1
        return
    yield table


def keys_of(table: Any) -> Keys:
    """The second half of the requests' hashes, uint64[rows]; the first half decides on sampling."""
    chunk = table["request"].combine_chunks()
    data = np.frombuffer(chunk.buffers()[1], dtype=">u8")[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
    return data[1::2].astype(np.uint64)


def key_of(request: bytes) -> int:
    """The same of one hash."""
    return int.from_bytes(request[8:], "big")


def times_of(table: Any, name: str) -> NDArray[np.int64]:
    """A column of times, microseconds, int64[rows]."""
    times: NDArray[np.int64] = table[name].cast("int64").to_numpy()
    return times


def completions_of(table: Any) -> Iterator[CompletionRow]:
    """Rows of a completions' table, with ``COMPLETION_COLUMNS``."""
    arrival, ended = times_of(table, "arrival") / 1e6, times_of(table, "ended_at") / 1e6
    columns = [table[name].to_pylist() for name in COMPLETION_COLUMNS[:6]]
    shapes = table["shape"].to_pylist() if "shape" in table.column_names else [None] * len(arrival)
    for request, model, version, score, tokens, complete, arrived, ended_at, shape in zip(
        *columns, arrival.tolist(), ended.tolist(), shapes, strict=True
    ):
        names = sys.intern(model), sys.intern(version)  # a few names, in very many rows
        yield CompletionRow(request, *names, score, tokens, complete, "", arrived, ended_at, (), shape or b"")


def joined(row: CompletionRow, prompt: str) -> LoggedCompletion:
    """A completion with its prompt."""
    known = row.score, row.tokens, row.complete, row.ended_at, row.shape
    return LoggedCompletion(prompt, row.model, row.ranker_version, *known)
