"""Orders that need nothing but numbers: theory's, and baselines to compare with. The daemon's own are in ``ranked``."""

from __future__ import annotations

import heapq
import math
from collections import deque

from rankd.replay.engine.engine import RunningBatch
from rankd.replay.trace.trace import Floats, Trace

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
        self._batch: RunningBatch | None = None

    @property
    def batch(self) -> RunningBatch:
        """The engine."""
        assert self._batch is not None
        return self._batch

    def attach(self, batch: RunningBatch) -> None:
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
    """Least true work left first, taking slots away: SRPT."""

    preemptive = True

    def __init__(self, trace: Trace, prompt_cost: float = 0.0) -> None:
        """Take the true lengths, and what a prompt token counts for in output tokens until the prompt is read."""
        super().__init__(trace)
        self._output: list[int] = trace.output.tolist()
        self._reading: list[float] = (prompt_cost * trace.uncached).tolist()

    def key(self, request: int, generated: int) -> Key:
        """Work left in output tokens, then arrival."""
        reading = 0.0 if generated else self._reading[request]
        return self._output[request] - generated + reading, self._arrival[request]


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
