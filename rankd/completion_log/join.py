"""Prompts and completions joined: the newest, for judging, or a draw from the whole log, for training."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rankd.completion_log.records import DIGEST_BYTES, CompletionRow, Kind, LoggedCompletion, PromptRow, micros
from rankd.completion_log.store import Segment, Store

T = TypeVar("T")
Keys = NDArray[np.uint64]
_SKEW = 60_000_000
"""Microseconds that the clocks of two replicas may differ by, so that a completion seems older than its prompt."""
_LOOK_AT = 64
"""Completions looked at for each that is wanted, before an unlucky search ends."""
_SLACK = 4
"""Requests kept in a draw for each row wanted: not all prompts have completions."""
_COMPLETION = ["request", "model", "ranker_version", "score", "tokens", "complete", "ended_at"]


def pick(times: Sequence[int], ended: int) -> int | None:
    """Of the times that prompts of one request id were seen at, sorted, the one that a completion belongs to.

    Engines may use an id again: it is the last one before the end, or the first one soon after, as clocks differ.
    """
    place = bisect_right(times, ended)
    if place:
        return times[place - 1]
    return times[0] if times and times[0] - ended <= _SKEW else None


# -- the newest --------------------------------------------------------------------------------------------------------


def newest(
    store: Store,
    unwritten: Mapping[Kind, Sequence[PromptRow | CompletionRow]],
    most: int,
    model: str | None,
    below: bytes,
) -> list[LoggedCompletion]:
    """The last ``most`` completions that have a prompt, in the order in which they ended.

    Args:
        store: with the segments of all replicas.
        unwritten: rows of this daemon that are in no segment yet.
        most: how many.
        model: of one served model; None is all.
        below: bound of sampled requests; others have no prompt.
    """
    segments = _segments(store)
    ended = _newest_completions(store, segments, unwritten[Kind.COMPLETIONS], most, model, below)
    if not ended:
        return []
    since = min(micros(row.arrival) for row in ended.values()) / 1e6 - _SKEW / 1e6
    wanted = set(ended)
    prompts: dict[bytes, dict[int, str]] = {}
    for row in unwritten[Kind.PROMPTS]:
        if isinstance(row, PromptRow) and row.request in wanted:
            prompts.setdefault(row.request, {})[micros(row.seen_at)] = row.prompt
    keys = np.array(sorted(_key(r) for r in wanted), dtype=np.uint64)
    for segment in reversed(segments):
        if segment.kind is not Kind.PROMPTS or segment.written_at < since:
            continue
        for table in _tables(store, segment, ["request", "seen_at", "prompt"]):
            hits = np.flatnonzero(np.isin(_keys(table), keys))
            part = table.take(hits)
            for request, seen, prompt in zip(
                part["request"].to_pylist(), _times(part, "seen_at").tolist(), part["prompt"].to_pylist(), strict=True
            ):
                prompts.setdefault(request, {})[seen] = prompt
    found = [_joined(row, prompts.get(request)) for request, row in ended.items()]
    joined = sorted((j for j in found if j is not None), key=lambda j: j.ended_at)
    return joined[-most:]


def _joined(row: CompletionRow, prompts: dict[int, str] | None) -> LoggedCompletion | None:
    seen = pick(sorted(prompts), micros(row.ended_at)) if prompts else None
    if prompts is None or seen is None:
        return None
    return LoggedCompletion(
        prompts[seen], row.model, row.ranker_version, row.score, row.tokens, row.complete, row.ended_at
    )


def _newest_completions(
    store: Store,
    segments: Sequence[Segment],
    unwritten: Sequence[PromptRow | CompletionRow],
    most: int,
    model: str | None,
    below: bytes,
) -> dict[bytes, CompletionRow]:
    """By request, the newest completions that may have a prompt: some more than ``most``, as not all will."""
    found: dict[bytes, CompletionRow] = {}

    def take(rows: Iterable[CompletionRow]) -> None:
        for row in rows:
            if row.request < below and model in (None, row.model):
                held = found.setdefault(row.request, row)
                found[row.request] = max(held, row, key=lambda r: r.ended_at)

    take(row for row in unwritten if isinstance(row, CompletionRow))
    looked_at = 0
    for segment in (s for s in reversed(segments) if s.kind is Kind.COMPLETIONS):
        if len(found) >= 2 * most or looked_at >= _LOOK_AT * most:
            break
        for table in _tables(store, segment, [*_COMPLETION, "arrival"]):
            looked_at += table.num_rows
            take(_completions(table))
    newest_first = sorted(found.items(), key=lambda item: -item[1].ended_at)
    return dict(newest_first[: 2 * most])


def _completions(table: Any) -> Iterator[CompletionRow]:
    ended, arrival = _times(table, "ended_at") / 1e6, _times(table, "arrival") / 1e6
    columns = [table[name].to_pylist() for name in _COMPLETION[:6]]
    for request, model, version, score, tokens, complete, ended_at, arrived in zip(
        *columns, ended.tolist(), arrival.tolist(), strict=True
    ):
        yield CompletionRow(request, model, version, score, tokens, complete, "", arrived, ended_at, ())


# -- a draw from all ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Draw:
    """Joined rows of a log of any size, drawn by request id so that memory stays bounded.

    A request is in the draw if its hash, turned by the seed, is under a bound that falls as requests are found: prompts
    and completions agree on it without ever being in memory together.
    """

    store: Store
    most: int
    seed: int
    counts: Counter[str]
    """What is not in it, by reason."""
    tell: Callable[[float], None]
    """Told the share that is done."""

    def rows(self) -> Iterator[LoggedCompletion]:
        """Read the log three times: which prompts there are, what became of them, and their text."""
        segments = _segments(self.store)
        prompts = [s for s in segments if s.kind is Kind.PROMPTS]
        completions = [s for s in segments if s.kind is Kind.COMPLETIONS]
        turn = np.uint64((self.seed * 0x9E3779B97F4A7C15) % 2**64)
        keys, seen, bound = self._seen(prompts, turn)
        ended = self._ended(completions, turn, keys, seen, bound)
        yield from self._texts(prompts, turn, ended)
        if left := sum(len(rows) for rows in ended.values()):
            self.counts["prompt vanished while it was read"] += left

    def _seen(self, segments: Sequence[Segment], turn: np.uint64) -> tuple[Keys, NDArray[np.int64], np.uint64]:
        """Keys of prompts and when they were seen, sorted, and the bound of the keys that are in the draw."""
        limit, bound = _SLACK * self.most, np.uint64(2**64 - 1)
        keys, times = np.empty(0, np.uint64), np.empty(0, np.int64)
        for table in self._read(segments, ["request", "seen_at"], 0.0, 0.2):
            new = _keys(table) ^ turn
            under = new <= bound
            keys = np.concatenate([keys, new[under]])
            times = np.concatenate([times, _times(table, "seen_at")[under]])
            if len(keys) > 2 * limit:
                bound = np.partition(keys, limit)[limit]
                keys, times = keys[keys <= bound], times[keys <= bound]
        order = np.lexsort((times, keys))
        return keys[order], times[order], bound

    def _ended(
        self, segments: Sequence[Segment], turn: np.uint64, keys: Keys, seen: NDArray[np.int64], bound: np.uint64
    ) -> dict[tuple[int, int], list[CompletionRow]]:
        """By key and time of the prompt, its completion."""
        starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]) != 0)
        times = {int(keys[a]): seen[a:b].tolist() for a, b in pairwise([*starts.tolist(), len(keys)])}
        found: dict[tuple[int, int], list[CompletionRow]] = {}
        for table in self._read(segments, [*_COMPLETION, "arrival"], 0.2, 0.5):
            table_keys = _keys(table) ^ turn
            here = np.flatnonzero(table_keys <= bound)
            for key, row in zip(table_keys[here].tolist(), _completions(table.take(here)), strict=True):
                self._place(found, times.get(key, []), key, row)
        return found

    def _place(
        self, found: dict[tuple[int, int], list[CompletionRow]], times: list[int], key: int, row: CompletionRow
    ) -> None:
        at = pick(times, micros(row.ended_at))
        if at is None:
            self.counts["completion without a prompt"] += 1
            return
        held = found.setdefault((key, at), [row])
        if held[0] is not row:
            # Told twice, perhaps to two replicas: what is known to be complete, or longer, says more.
            self.counts["completion reported twice"] += 1
            held[0] = max(held[0], row, key=lambda r: (r.complete, r.tokens))

    def _texts(
        self, segments: Sequence[Segment], turn: np.uint64, ended: dict[tuple[int, int], list[CompletionRow]]
    ) -> Iterator[LoggedCompletion]:
        keys = np.array(sorted({key for key, _ in ended}), dtype=np.uint64)
        for table in self._read(segments, ["request", "seen_at", "prompt"], 0.5, 1.0):
            table_keys = _keys(table) ^ turn
            here = np.flatnonzero(np.isin(table_keys, keys))
            part = table.take(here)
            for key, seen, prompt in zip(
                table_keys[here].tolist(), _times(part, "seen_at").tolist(), part["prompt"].to_pylist(), strict=True
            ):
                for row in ended.pop((key, seen), []):
                    yield LoggedCompletion(
                        prompt, row.model, row.ranker_version, row.score, row.tokens, row.complete, row.ended_at
                    )

    def _read(self, segments: Sequence[Segment], columns: list[str], start: float, end: float) -> Iterator[Any]:
        total, done = max(1, sum(s.size for s in segments)), 0
        for segment in segments:
            yield from _tables(self.store, segment, columns, self.counts)
            done += segment.size
            self.tell(start + (end - start) * done / total)


# -- segments ----------------------------------------------------------------------------------------------------------


def _segments(store: Store) -> list[Segment]:
    try:
        return store.segments()
    except Exception:  # noqa: BLE001 - whatever a store raises; what is in memory is told
        return []


def _tables(store: Store, segment: Segment, columns: list[str], counts: Counter[str] | None = None) -> Iterator[Any]:
    """The segment's table, unless it is damaged or was deleted meanwhile."""
    try:
        table = store.read(segment.name, columns)
        if table["request"].type.byte_width != DIGEST_BYTES:
            raise ValueError  # noqa: TRY301 - damaged like the others
    except FileNotFoundError:
        return
    except Exception:  # noqa: BLE001 - whatever a damaged file makes pyarrow raise
        if counts is not None:
            counts["segment is damaged"] += 1
        return
    yield table


def _keys(table: Any) -> Keys:
    """The second half of the requests' hashes, uint64[rows]; the first half decides on sampling."""
    chunk = table["request"].combine_chunks()
    data = np.frombuffer(chunk.buffers()[1], dtype=">u8")[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
    return data[1::2].astype(np.uint64)


def _key(request: bytes) -> int:
    return int.from_bytes(request[8:], "big")


def _times(table: Any, name: str) -> NDArray[np.int64]:
    """Microseconds, int64[rows]."""
    times: NDArray[np.int64] = table[name].cast("int64").to_numpy()
    return times
