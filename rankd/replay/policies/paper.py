"""The paper's order, with its starvation rule, to compare with."""

from __future__ import annotations

import heapq
from collections import deque

import numpy as np

from rankd.replay.engine.engine import RunningBatch
from rankd.replay.policies.baselines import NEVER
from rankd.replay.trace.trace import Floats, Trace


class PaperOrder:
    """The paper's: lowest score first, of waiting and running ones alike, at every iteration; with its starvation rule.

    A request that was not scheduled for ``threshold`` iterations is promoted: it goes before all that are not, until it
    got ``quantum`` tokens, one per iteration in which it runs. The promoted are lowest score first among themselves.
    Reading a prompt does not count against the quantum, or one that takes more iterations would be read for ever.

    A burst makes it take millions of slots away, so requests are ranked once, by score and arrival, and heaps hold
    plain numbers: the rank, and ``n`` more for who is not promoted.
    """

    preemptive = True

    def __init__(self, trace: Trace, scores: Floats, threshold: int = 200, quantum: int = 10) -> None:
        """Take scores; without one a request is placed as of the median."""
        known = scores[~np.isnan(scores)]
        middle = float(np.median(known)) if len(known) else 0.0
        ranked = np.lexsort((trace.arrival, np.where(np.isnan(scores), middle, scores)))
        self._by_rank: list[int] = ranked.tolist()
        self._code = [0] * len(trace)
        for rank, request in enumerate(self._by_rank):
            self._code[request] = len(trace) + rank
        self._n = max(len(trace), 1)
        self._threshold, self._quantum = threshold, quantum
        self._since: dict[int, int] = {}
        self._idle: deque[tuple[int, int]] = deque()
        self._until: dict[int, int] = {}
        self._running: set[int] = set()
        self._waiting: list[int] = []
        self._worst: list[int] = []
        self._looked = -1
        self._batch: RunningBatch | None = None

    def attach(self, batch: RunningBatch) -> None:
        """Learn about the engine."""
        self._batch = batch

    def __len__(self) -> int:
        return len(self._since)

    def add(self, request: int, now: float, generated: int) -> None:
        """Let a request wait; it idles from this iteration on."""
        del now, generated
        assert self._batch is not None
        at = self._since[request] = self._batch.iterations
        self._idle.append((at, request))
        self._until.pop(request, None)
        self._running.discard(request)
        heapq.heappush(self._waiting, self._code[request])

    def peek(self, now: float) -> int:
        """Who goes next, after the promotions that are due."""
        del now
        self._promote()
        # Entries of who was promoted, or started, meanwhile are passed over.
        while True:
            code = self._waiting[0]
            request = self._by_rank[code % self._n]
            if request in self._since and self._code[request] == code:
                return request
            heapq.heappop(self._waiting)

    def pop(self, now: float) -> int:
        """Start who goes next."""
        assert self._batch is not None
        request = self.peek(now)
        code = heapq.heappop(self._waiting)
        del self._since[request]
        self._running.add(request)
        heapq.heappush(self._worst, -code)
        if code < self._n:
            self._until[request] = self._batch.generated(request) + self._quantum
        return request

    def victim(self, now: float) -> int:
        """The running request that is last."""
        del now
        self._promote()
        while True:
            code = -self._worst[0]
            request = self._by_rank[code % self._n]
            if request in self._running and self._code[request] == code:
                return request
            heapq.heappop(self._worst)

    def beats(self, waiting: int, running: int, now: float) -> bool:
        """Whether a waiting request goes before a running one."""
        del now
        return self._code[waiting] < self._code[running]

    def wake(self) -> int:
        """The next promotion, or the end of one that runs."""
        batch = self._batch
        if not self._since or batch is None:
            return NEVER
        while self._idle and self._since.get(self._idle[0][1]) != self._idle[0][0]:
            self._idle.popleft()
        first = self._idle[0][0] + self._threshold if self._idle else NEVER
        left = (end - batch.generated(request) for request, end in self._until.items())
        return max(1, min([first - batch.iterations, *left]))

    def finished(self, request: int, now: float) -> None:
        """Forget it."""
        del now
        self._until.pop(request, None)
        self._running.discard(request)

    def _promote(self) -> None:
        """Promotions that are due, and ends of promotions: once an iteration."""
        batch = self._batch
        assert batch is not None
        at = batch.iterations
        if at == self._looked:
            return
        self._looked = at
        for request in [r for r, end in self._until.items() if batch.generated(r) >= end]:
            del self._until[request]
            self._code[request] += self._n
            heapq.heappush(self._worst, -self._code[request])
        while self._idle and self._idle[0][0] + self._threshold <= at:
            since, request = self._idle.popleft()
            if self._since.get(request) == since and self._code[request] >= self._n:
                self._code[request] -= self._n
                heapq.heappush(self._waiting, self._code[request])
