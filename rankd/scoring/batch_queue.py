"""The queue in front of the model: length-sorted, cut into batches by token budget.

Three classes of entries. *Urgent*: somebody waits, and the earliest deadline is near. *Bulk*: somebody waits, with time
to spare. *Late*: the callers were answered without them at their deadline; they fill the score cache.

A batch is formed around an anchor: the urgent entry with the earliest deadline that can still be met; where there is
none, bulk and late entries alternate. Its neighbours in length join until the token budget is spent or padding would
take more than its share. So nobody who waits is starved by length, a bulk caller does not delay an engine, neither
while it waits nor when it asks again for what came too late, and under overload late work takes nothing from live work.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from rankd.types import Reason, Scored

URGENT_SECONDS = 1.0
"""A deadline nearer than this is an engine's, which waits for an order; later ones are bulk."""
SHARED_SECONDS = 0.01
"""While urgent callers come and go, batches of other work are not made longer than this, nor lined up further ahead: a
batch cannot be called back, and who comes while it runs has to wait for it."""
URGENT_MEMORY = 10.0
"""Seconds after the last urgent caller for which that goes on."""
_SLOT = 0.01
"""Seconds of deadlines that are counted together in ``UrgentDemand``."""


@dataclass(slots=True, eq=False)
class QueuedPrompt:
    """One prompt on its way to a score. Its fields are read by all, and written by its own methods only."""

    digest: bytes
    text: str | None
    """The cut prompt, until it is encoded."""
    tokens: int
    """Estimated until encoded, then exact."""
    since: float = 0.0
    """When it was admitted, on the event loop's clock."""
    encoding: bool = False
    ids: NDArray[np.int64] | None = None
    waiters: dict[CallWaiter, None] = field(default_factory=dict)
    deadline: float = math.inf
    """The earliest of those who wait."""
    abandoned: bool = False
    """Some caller was answered without it: score it for the cache though nobody waits."""
    result: Scored | Reason | None = None
    """The score, or why there will be none; None while it is not decided."""
    _deadlines: list[tuple[float, int, CallWaiter]] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self.waiters)

    def join(self, waiter: CallWaiter) -> None:
        """Let a call wait for it."""
        self.waiters[waiter] = None
        heapq.heappush(self._deadlines, (waiter.deadline, id(waiter), waiter))
        self.deadline = min(self.deadline, waiter.deadline)
        waiter.left += 1

    def leave(self, waiter: CallWaiter) -> None:
        """Let a call that waits for it go."""
        del self.waiters[waiter]
        waiter.left -= 1
        while self._deadlines and self._deadlines[0][2] not in self.waiters:
            heapq.heappop(self._deadlines)
        self.deadline = self._deadlines[0][0] if self._deadlines else math.inf

    def abandon(self) -> None:
        """Note that a caller is answered without it: its score is for the cache."""
        self.abandoned = True

    def begin_encoding(self) -> bool:
        """Whether it is to be encoded now: not where it is decided, or being encoded, or is already."""
        if self.result is not None or self.text is None or self.encoding:
            return False
        self.encoding = True
        return True

    def encoded(self, ids: NDArray[np.int64]) -> None:
        """Take its token ids, [tokens], in place of the text."""
        self.text, self.ids, self.tokens = None, ids, len(ids)

    def decide(self, result: Scored | Reason) -> None:
        """Take its score, or why there will be none; tell the calls that wait for it, and keep nothing else."""
        self.result = result
        self.text = self.ids = None
        for waiter in self.waiters:
            waiter.entry_decided()
        self.waiters.clear()


@dataclass(slots=True, eq=False)
class CallWaiter:
    """One call that waits for some entries; ``finished`` completes when none is left."""

    deadline: float
    finished: asyncio.Future[None]
    left: int = 0
    span: object = None
    """The caller's span, to link the batch to; opaque here."""

    def entry_decided(self) -> None:
        """One entry is decided, or there are no more to join."""
        self.left -= 1
        if self.left == 0:
            self.finish()

    def finish(self) -> None:
        """Let the call go on."""
        # A call that was cancelled or is over its deadline has cancelled its future; setting that would raise.
        if not self.finished.done():
            self.finished.set_result(None)


class UrgentDemand:
    """How many tokens urgent callers wait for, by deadline; each entry counts once, until the model has it."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._tokens: dict[int, int] = {}
        self._counted: dict[QueuedPrompt, tuple[int, int]] = {}
        """In which slot each entry counts, and as how many tokens."""

    def __contains__(self, entry: QueuedPrompt) -> bool:
        return entry in self._counted

    def count(self, entry: QueuedPrompt, now: float) -> None:
        """Count an entry anew after its callers or its tokens changed."""
        self.drop(entry)
        if entry.waiters and entry.deadline - now <= URGENT_SECONDS:
            slot, tokens = int(entry.deadline / _SLOT), entry.tokens
            self._counted[entry] = slot, tokens
            self._tokens[slot] = self._tokens.get(slot, 0) + tokens

    def drop(self, entry: QueuedPrompt) -> None:
        """Count an entry no longer."""
        counted = self._counted.pop(entry, None)
        if counted is None:
            return
        slot, tokens = counted
        left = self._tokens[slot] - tokens
        if left:
            self._tokens[slot] = left
        else:
            del self._tokens[slot]

    def until(self, deadline: float) -> int:
        """Tokens that are due no later."""
        last = int(deadline / _SLOT)
        return sum(tokens for slot, tokens in self._tokens.items() if slot <= last)


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
        self._live: list[dict[QueuedPrompt, None]] = [{} for _ in range(max_length + 1)]
        self._late: list[dict[QueuedPrompt, None]] = [{} for _ in range(max_length + 1)]
        # A plain dict looks for its first key past all that were deleted before it.
        self._late_order: OrderedDict[QueuedPrompt, None] = OrderedDict()
        self._live_count = self._live_tokens = 0
        self._late_next = False
        """Of bulk and late entries, the late ones come next."""
        self._urgent_at = -math.inf
        self._by_deadline: list[tuple[float, int, QueuedPrompt]] = []
        self._hopeless: OrderedDict[QueuedPrompt, None] = OrderedDict()
        self._sequence = count()

    def __len__(self) -> int:
        return self._live_count + len(self._late_order)

    def add(self, entry: QueuedPrompt) -> None:
        """Put an encoded entry in, live or late by its waiters."""
        if entry.live:
            self._live[entry.tokens][entry] = None
            self._live_count += 1
            self._live_tokens += entry.tokens
            heapq.heappush(self._by_deadline, (entry.deadline, next(self._sequence), entry))
        else:
            self._late[entry.tokens][entry] = None
            self._late_order[entry] = None

    def remove(self, entry: QueuedPrompt) -> None:
        """Take an entry out, wherever it is; one that is not here is ignored."""
        if entry in self._live[entry.tokens]:
            del self._live[entry.tokens][entry]
            self._live_tokens -= entry.tokens
            self._live_count -= 1  # its place in the heap is skipped when it comes up
            self._hopeless.pop(entry, None)
        elif entry in self._late_order:
            del self._late[entry.tokens][entry]
            del self._late_order[entry]

    def moved(self, entry: QueuedPrompt) -> None:
        """File an entry anew after its waiters changed."""
        if entry in self._live[entry.tokens] or entry in self._late_order:
            self.remove(entry)
            self.add(entry)

    def form(self, start: float, seconds_per_token: float, ahead: float = 0.0, workers: int = 1) -> list[QueuedPrompt]:
        """Take the next batch out; empty where nothing is ready, or nothing that should be lined up already.

        Args:
            start: when the model can begin with it, on the clock of the deadlines, seconds.
            seconds_per_token: how long the model takes per padded token, to tell which deadlines can be met.
            ahead: seconds of work that the model has been handed already.
            workers: that will share what waits: batches are cut such that they end together.
        """
        anchor = self._anchor(start, seconds_per_token)
        if anchor is None:
            return []
        urgent = self._urgent(anchor, start)
        if not urgent and ahead > SHARED_SECONDS and self._shared(start):
            return []
        self._late_next = not urgent and anchor.live
        buckets = self._live if anchor.live else self._late
        budget = self._budget(anchor, start, seconds_per_token, urgent=urgent)
        if workers > 1 and anchor.live:
            budget = min(budget, self._even_share(workers))
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

    def _anchor(self, start: float, seconds_per_token: float) -> QueuedPrompt | None:
        soonest = self._soonest(start, seconds_per_token)
        if soonest is not None and self._urgent(soonest, start):
            return soonest
        late = next(iter(self._hopeless), None) or next(iter(self._late_order), None)
        return late if soonest is None or (late is not None and self._late_next) else soonest

    def _soonest(self, start: float, seconds_per_token: float) -> QueuedPrompt | None:
        """The live entry with the earliest deadline that can still be met."""
        while self._by_deadline:
            deadline, _, entry = self._by_deadline[0]
            if entry in self._live[entry.tokens] and entry.deadline == deadline and entry not in self._hopeless:
                if start + seconds_per_token * entry.tokens <= deadline:
                    return entry
                # Its caller will be answered without it: let those go first whose deadline can be met.
                self._hopeless[entry] = None
            heapq.heappop(self._by_deadline)  # hopeless, taken, or filed anew under another deadline
        return None

    def _urgent(self, entry: QueuedPrompt, start: float) -> bool:
        return entry.live and entry not in self._hopeless and entry.deadline - start <= URGENT_SECONDS

    def note_urgent(self, now: float) -> None:
        """Note that an urgent caller came."""
        self._urgent_at = now

    def _shared(self, now: float) -> bool:
        """Whether urgent callers come and go."""
        return now - self._urgent_at <= URGENT_MEMORY

    def _budget(self, anchor: QueuedPrompt, start: float, seconds_per_token: float, *, urgent: bool) -> int:
        """Padded tokens of a batch: what the anchor's deadline leaves time for, or what others may be kept waiting."""
        if seconds_per_token <= 0 or not (urgent or self._shared(start)):
            return self._max_tokens
        in_time = (anchor.deadline - start if urgent else SHARED_SECONDS) / seconds_per_token
        return self._max_tokens if in_time >= self._max_tokens else max(int(in_time), self._efficient_tokens)

    def _even_share(self, workers: int) -> int:
        """Padded tokens of a batch such that what waits ends at once in all workers; whole ones where much does."""
        waiting, whole = self._live_tokens, workers * self._max_tokens
        if waiting >= 2 * whole:
            return self._max_tokens
        batches = workers if waiting <= whole else 2 * workers
        return max(-(-waiting // batches), self._efficient_tokens)

    def _neighbours(self, buckets: list[dict[QueuedPrompt, None]], length: int) -> Iterator[QueuedPrompt]:
        """Entries by distance in length from ``length``, oldest first within a length."""
        yield from list(islice(buckets[length], self._max_prompts))
        for distance in range(1, len(buckets)):
            for other in (length - distance, length + distance):
                if 0 < other < len(buckets) and buckets[other]:
                    yield from list(islice(buckets[other], self._max_prompts))


def spans_of(entries: list[QueuedPrompt]) -> list[object]:
    """The spans of the calls that wait for some entries."""
    return [w.span for e in entries for w in e.waiters if w.span is not None]
