"""The requests of one slot, in bounded memory."""

from __future__ import annotations

import math

import numpy as np

from rankd.pilot.latency import Bools, Floats

_KEYS = 2**64


class SlotSample:
    """Requests that arrived in one slot: all of them while they are few, else a fair share.

    Who is kept depends on the request's key alone, which is as good as random: whether it was fast or slow, or who
    reported it, plays no part.
    """

    def __init__(self, most: int) -> None:
        """Keep ``most`` requests at most."""
        self._most = most
        self._below = _KEYS
        self._requests: dict[int, tuple[float, float, bool]] = {}
        self.open = 0
        """Requests kept of which no end is known."""

    def arrived(self, key: int, arrival: float) -> None:
        """Note a request; once however often it is reported.

        Args:
            key: of the request, uniform in 0 to 2^64 - 1.
            arrival: seconds.
        """
        if key < self._below and key not in self._requests:
            self._requests[key] = (arrival, math.nan, False)
            self.open += 1
            self._thin()

    def ended(self, key: int, arrival: float, latency: float, *, served: bool) -> None:
        """Note an end; the first one counts. ``served`` is false for a request that gave up."""
        if key >= self._below:
            return
        known = self._requests.get(key)
        if known is not None and not math.isnan(known[1]):
            return
        self.open -= known is not None
        self._requests[key] = (arrival if known is None else known[0], latency, served)
        self._thin()

    def _thin(self) -> None:
        while len(self._requests) > self._most:
            self._below //= 2
            self._requests = {k: v for k, v in self._requests.items() if k < self._below}
            self.open = sum(math.isnan(v[1]) for v in self._requests.values())

    def __len__(self) -> int:
        """Requests kept."""
        return len(self._requests)

    def columns(self, now: float) -> tuple[Floats, Floats, Bools]:
        """Arrival, latency (so far, of who has not ended), and who was served to the end; [n] each."""
        rows = list(self._requests.values())
        arrival = np.array([r[0] for r in rows], dtype=np.float64)
        latency = np.array([r[1] for r in rows], dtype=np.float64)
        so_far = np.maximum(now - arrival, 0.0)
        served = np.array([r[2] for r in rows], dtype=np.bool_)
        return arrival, np.where(np.isnan(latency), so_far, latency), served
