"""Completions that are reported in the order in which a queue is served: by the score that is in use."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.proof import Proof

Floats = NDArray[np.float64]

_LONGEST = 0.99
"""Quantile of the lengths that bounds all: what is asked here is not how heavy a tail is."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Who arrives when, and how fast it is served."""

    burst: int = 0
    """Requests that arrive at once; 0: each alone, at random."""
    load: float = 0.9
    """Work that arrives of what can be served."""
    servers: int = 16
    """Requests that are served at once."""

    def arrivals(self, size: int, rng: np.random.Generator) -> Floats:
        """When each arrives; the mean request takes a second."""
        rate = self.servers * self.load
        if not self.burst:
            return np.cumsum(rng.exponential(1.0 / rate, size))
        return np.asarray((np.arange(size) // self.burst) * (self.burst / rate), np.float64)


class QueuedStream:
    """One queue that is ordered by what its proof takes into use."""

    def __init__(self, base: Floats, learned: Floats, tokens: NDArray[np.int64], complete: NDArray[np.bool_]) -> None:
        """Take the requests in the order in which they arrive."""
        self._base, self._learned, self._tokens, self._complete = base, learned, tokens, complete
        self.proof = Proof()

    def switches(self, queue: Queue, rng: np.random.Generator, look: int) -> list[int]:
        """After how many completions it came into use, and out of it, in turn.

        Args:
            queue: how it is served.
            rng: draws arrivals.
            look: completions between two looks.
        """
        arrival = queue.arrivals(len(self._base), rng)
        service = np.minimum(self._tokens, np.quantile(self._tokens, _LONGEST)).astype(np.float64)
        service /= service.mean()
        waiting: list[tuple[float, int]] = []
        served: list[tuple[float, int]] = []
        found, come = [], 0
        while come < len(arrival) or waiting or served:
            if come < len(arrival) and (not served or arrival[come] <= served[0][0]):
                now = float(arrival[come])
                while come < len(arrival) and arrival[come] == now:
                    heapq.heappush(waiting, (self._rank(come), come))
                    come += 1
            else:
                now, ended = heapq.heappop(served)
                self._add(ended, float(arrival[ended]))
                if self.proof.seen % look == 0 and self._switched(now):
                    found.append(self.proof.seen)
                    waiting = [(self._rank(one), one) for _, one in waiting]
                    heapq.heapify(waiting)
            while waiting and len(served) < queue.servers:
                _, one = heapq.heappop(waiting)
                heapq.heappush(served, (now + float(service[one]), one))
        return found

    def _rank(self, one: int) -> float:
        return float((self._learned if self.proof.in_use else self._base)[one])

    def _add(self, one: int, arrival: float) -> None:
        scores = float(self._base[one]), float(self._learned[one])
        self.proof.add(*scores, int(self._tokens[one]), bool(self._complete[one]), arrival=arrival)

    def _switched(self, now: float) -> bool:
        before = self.proof.switches
        self.proof.decide(self.proof.evidence().evaluate(), now)
        return self.proof.switches != before
