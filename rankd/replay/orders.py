"""Orders that need nothing but numbers: theory's, and baselines to compare with. The daemon's own are in ``ranked``."""

from __future__ import annotations

import heapq
import math
from collections import deque

import numpy as np

from rankd.replay.engine import Batch
from rankd.replay.trace import Floats, Trace

NEVER = 2**62
Key = tuple[float, ...]


class KeyOrder:
    """Lowest key first, ties by arrival; a key is fixed while a request waits.

    As it stands it is FCFS; others say what the key is.
    """

    preemptive = False

    def __init__(self, trace: Trace) -> None:
        """Take the trace."""
        self._arrival: list[float] = trace.arrival.tolist()
        self._heap: list[tuple[Key, int]] = []
        self._batch: Batch | None = None

    @property
    def batch(self) -> Batch:
        """The engine."""
        assert self._batch is not None
        return self._batch

    def attach(self, batch: Batch) -> None:
        """Learn about the engine."""
        self._batch = batch

    def __len__(self) -> int:
        return len(self._heap)

    def key(self, request: int, generated: int) -> Key:
        """What a request that got so many tokens is ordered by."""
        del generated
        return (self._arrival[request],)

    def add(self, request: int, now: float, generated: int) -> None:
        """Let a request wait."""
        del now
        heapq.heappush(self._heap, (self.key(request, generated), request))

    def peek(self, now: float) -> int:
        """Who goes next."""
        del now
        return self._heap[0][1]

    def pop(self, now: float) -> int:
        """Start who goes next."""
        del now
        return heapq.heappop(self._heap)[1]

    def _place(self, request: int) -> tuple[Key, int]:
        return self.key(request, self.batch.generated(request)), request

    def victim(self, now: float) -> int:
        """The running request of the largest key."""
        del now
        return max(self.batch.running(), key=self._place)

    def beats(self, waiting: int, running: int, now: float) -> bool:
        """Whether the key of who goes next is lower: the one it waits with, so that taking turns comes to an end."""
        del waiting, now
        return self._heap[0][0] < self._place(running)[0]

    def wake(self) -> int:
        """Never by itself."""
        return NEVER

    def finished(self, request: int, now: float) -> None:
        """Nothing is learned."""


class FixedKey(KeyOrder):
    """Lowest given number first: shortest first where these are lengths."""

    def __init__(self, trace: Trace, keys: Floats, *, preemptive: bool = False) -> None:
        """Take a number for each request."""
        super().__init__(trace)
        self._keys: list[float] = keys.tolist()
        self.preemptive = preemptive

    def key(self, request: int, generated: int) -> Key:
        """The number, then arrival."""
        del generated
        return self._keys[request], self._arrival[request]


class ShortestRemaining(KeyOrder):
    """Fewest tokens left first, taking slots away: SRPT, with true lengths."""

    preemptive = True

    def __init__(self, trace: Trace) -> None:
        """Take the true lengths."""
        super().__init__(trace)
        self._output: list[int] = trace.output.tolist()

    def key(self, request: int, generated: int) -> Key:
        """Tokens left, then arrival."""
        return self._output[request] - generated, self._arrival[request]


class Boost(KeyOrder):
    """Without predictions: ``arrival - boost(tokens so far)``, the boost shrinking as a request turns out to be long.

    The boost is that of gamma-Boost (Yu and Scully 2024), ``log(1 / (1 - exp(-gamma * s))) / gamma``, with *s* the
    seconds that a request has to run at least to end its level; levels double from ``_LEVEL`` tokens on. So new
    requests go first until they turn out to be long, within what waiting there is: 1 / gamma is the mean response time
    of recent requests, learned. gamma to infinity is FCFS, to 0 it is least attained service first. The setting and
    the aim are those of arXiv 2606.18431 (soft boosting without predictions, preemptive); its code was not at hand.
    """

    preemptive = True
    _LEVEL = 32
    _ANEW = 1.25
    """All keys are made anew when the response time has changed by this factor."""

    def __init__(self, trace: Trace, pace: float, recent: int = 256) -> None:
        """Start with next to no waiting.

        Args:
            trace: the trace.
            pace: seconds per token of a running request.
            recent: finished requests that the response time is a mean of.
        """
        super().__init__(trace)
        self._pace = pace
        self._scale = self._LEVEL * pace
        self._recent: deque[float] = deque(maxlen=recent)
        self._sum = 0.0

    def finished(self, request: int, now: float) -> None:
        """Learn the response time."""
        if len(self._recent) == self._recent.maxlen:
            self._sum -= self._recent[0]
        self._recent.append(now - self._arrival[request])
        self._sum += self._recent[-1]
        scale = max(self._sum / len(self._recent), self._pace)
        if max(scale / self._scale, self._scale / scale) > self._ANEW:
            self._scale = scale
            self._heap = [self._place(waiting) for _, waiting in self._heap]
            heapq.heapify(self._heap)

    def key(self, request: int, generated: int) -> Key:
        """Arrival less boost."""
        boost = -self._scale * math.log(-math.expm1(-self._ends(generated) * self._pace / self._scale))
        return (self._arrival[request] - boost,)

    def wake(self) -> int:
        """When the first running request comes to the end of its level."""
        batch = self.batch
        if not len(self):
            return NEVER
        left = (self._ends(got) - got for got in map(batch.generated, batch.running()))
        return max(1, min(left, default=NEVER))

    def _ends(self, generated: int) -> int:
        """Tokens at which the level of a request ends."""
        return self._LEVEL << max(0, (generated // self._LEVEL).bit_length())


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
        self._batch: Batch | None = None

    def attach(self, batch: Batch) -> None:
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
