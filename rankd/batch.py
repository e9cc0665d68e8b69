"""The queue in front of the model: length-sorted, cut into batches by token budget.

Two classes of entries: *live* ones, which a caller waits for, and *late* ones, whose callers were answered without
them at their deadline and which fill the score cache. A batch is formed around an anchor: the live entry with the
earliest deadline that can still be met, else any live one, else the oldest late one. Its neighbours in length join
until the token budget is spent or padding would take more than its share. So nobody waiting is starved by length, a
bulk caller with a long deadline does not delay an engine with a short one, and late work costs live work nothing.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from rankd.types import Reason

LATE_SECONDS = 0.01
"""A batch of late entries is not made longer than this: whoever comes meanwhile has to wait for it. It matters where
the model is slow, as on a core that calls take most of."""


@dataclass(slots=True, eq=False)
class Entry:
    """One prompt on its way to a score."""

    digest: bytes
    text: str | None
    """The cut prompt, until it is encoded."""
    tokens: int
    """Estimated until encoded, then exact."""
    since: float = 0.0
    """When it was admitted, on the event loop's clock."""
    encoding: bool = False
    ids: NDArray[np.int64] | None = None
    waiters: list[Waiter] = field(default_factory=list)
    outlives: bool = False
    """Some caller was answered at its deadline: score it for the cache though nobody waits."""
    result: float | Reason | None = None
    """The score, or why there will be none; None while it is not decided."""

    @property
    def live(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.waiters)

    @property
    def deadline(self) -> float:
        """The earliest deadline of those who wait."""
        return min((w.deadline for w in self.waiters), default=float("inf"))


@dataclass(slots=True, eq=False)
class Waiter:
    """One call that waits for some entries; ``finished`` completes when none is left."""

    deadline: float
    finished: asyncio.Future[None]
    left: int = 0
    tokens: int = 0
    """Of the entries that are left."""
    span: object = None
    """The caller's span, to link the batch to; opaque here."""

    def one_less(self, tokens: int = 0) -> None:
        """One entry, of so many tokens, is decided."""
        self.left -= 1
        self.tokens -= tokens
        # A cancelled or timed-out call has cancelled its future (protocol.md, trap 9).
        if self.left == 0 and not self.finished.done():
            self.finished.set_result(None)


class BatchQueue:
    """Encoded entries by length; all operations on the event loop's thread."""

    def __init__(
        self,
        max_length: int,
        *,
        max_tokens: int,
        max_prompts: int,
        max_padding_share: float,
        multiple: int = 1,
        efficient_tokens: int = 1,
    ) -> None:
        """Prepare buckets for lengths 1 to ``max_length``; limits of a batch in padded tokens and prompts.

        ``efficient_tokens`` is the size below which a batch is not made smaller for the sake of a deadline.
        """
        self._max_tokens = max_tokens
        self._max_prompts = max_prompts
        self._max_padding_share = max_padding_share
        self._multiple = multiple
        self._efficient_tokens = min(efficient_tokens, max_tokens)
        self._live: list[dict[Entry, None]] = [{} for _ in range(max_length + 1)]
        self._late: list[dict[Entry, None]] = [{} for _ in range(max_length + 1)]
        self._late_order: dict[Entry, None] = {}
        self._live_count = 0
        self._by_deadline: list[tuple[float, int, Entry]] = []
        self._hopeless: dict[Entry, None] = {}
        self._sequence = count()

    def __len__(self) -> int:
        return self._live_count + len(self._late_order)

    @property
    def live(self) -> int:
        """Entries that somebody waits for."""
        return self._live_count

    def add(self, entry: Entry) -> None:
        """Put an encoded entry in, live or late by its waiters."""
        if entry.live:
            self._live[entry.tokens][entry] = None
            self._live_count += 1
            heapq.heappush(self._by_deadline, (entry.deadline, next(self._sequence), entry))
        else:
            self._late[entry.tokens][entry] = None
            self._late_order[entry] = None

    def remove(self, entry: Entry) -> None:
        """Take an entry out, wherever it is; one that is not here is ignored."""
        if entry in self._live[entry.tokens]:
            del self._live[entry.tokens][entry]
            self._live_count -= 1  # its place in the heap is skipped when it comes up
            self._hopeless.pop(entry, None)
        elif entry in self._late_order:
            del self._late[entry.tokens][entry]
            del self._late_order[entry]

    def moved(self, entry: Entry) -> None:
        """File an entry anew after its waiters changed."""
        if entry in self._live[entry.tokens] or entry in self._late_order:
            self.remove(entry)
            self.add(entry)

    def form(self, start: float, seconds_per_token: float) -> list[Entry]:
        """Take the next batch out; empty where nothing is ready.

        Args:
            start: when the model can begin with it, on the clock of the deadlines, seconds.
            seconds_per_token: how long the model takes per padded token, to tell which deadlines can be met.
        """
        anchor = self._anchor(start, seconds_per_token)
        if anchor is None:
            return []
        buckets = self._live if anchor.live else self._late
        budget = self._budget(anchor, start, seconds_per_token)
        batch = [anchor]
        self.remove(anchor)
        longest, real = anchor.tokens, anchor.tokens
        for entry in self._neighbours(buckets, anchor.tokens):
            width = max(longest, entry.tokens)
            padded = (width + -width % self._multiple) * (len(batch) + 1)
            padding = width * (len(batch) + 1) - real - entry.tokens
            if (
                len(batch) >= self._max_prompts
                or padded > budget
                or padding > self._max_padding_share * width * (len(batch) + 1)
            ):
                break
            longest, real = width, real + entry.tokens
            batch.append(entry)
        for entry in batch[1:]:
            self.remove(entry)
        return batch

    def _anchor(self, start: float, seconds_per_token: float) -> Entry | None:
        while self._by_deadline:
            deadline, _, entry = heapq.heappop(self._by_deadline)
            if entry not in self._live[entry.tokens] or entry.deadline != deadline:
                continue  # taken, or filed anew under another deadline
            if start + seconds_per_token * entry.tokens <= deadline:
                return entry
            # Its caller will be answered without it: let those go first whose deadline can be met.
            self._hopeless[entry] = None
        return next(iter(self._hopeless), None) or next(iter(self._late_order), None)

    def _budget(self, anchor: Entry, start: float, seconds_per_token: float) -> int:
        """Padded tokens that the anchor's deadline leaves time for; what late work may take where there is none."""
        if seconds_per_token <= 0:
            return self._max_tokens
        seconds = anchor.deadline - start if anchor.live and anchor not in self._hopeless else LATE_SECONDS
        in_time = seconds / seconds_per_token
        return self._max_tokens if in_time >= self._max_tokens else max(int(in_time), self._efficient_tokens)

    def _neighbours(self, buckets: list[dict[Entry, None]], length: int) -> Iterator[Entry]:
        """Entries by distance in length from ``length``, oldest first within a length."""
        yield from list(islice(buckets[length], self._max_prompts))
        for distance in range(1, len(buckets)):
            for other in (length - distance, length + distance):
                if 0 < other < len(buckets) and buckets[other]:
                    yield from list(islice(buckets[other], self._max_prompts))
