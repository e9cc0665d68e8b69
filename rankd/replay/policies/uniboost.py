"""UniBoost, to compare with: boosts by the size of the prompt, which is known, and no predictions."""

from __future__ import annotations

import heapq
import math
from collections import deque

import numpy as np

from rankd.replay.engine.cost import EngineCost
from rankd.replay.policies.baselines import Key, KeyOrder
from rankd.replay.trace.trace import Trace

ALPHA = 64e-6
"""Seconds per uncached token, where the engine's own are not known."""
GAMMA = 10.0
"""Per second, to begin with."""
_LEAST, _MOST = 1.0, 200.0
"""Gammas that adapting keeps to, per second."""
_SENSITIVITY = 4.0
_EVERY = 5.0
"""Seconds between two adaptations."""
_SMOOTH = 0.3
"""Share of what was found anew."""
_FEWEST, _WINDOW = 200, 2000
"""Latencies that it takes to adapt, and that are looked at."""
_LARGEST = 1e9
"""Seconds: the boost of a request that has nothing to be read."""


class UniBoost(KeyOrder):
    """Earliest ``arrival - boost(alpha * uncached tokens)`` first (arXiv 2606.18431, as in sglang#35637).

    The boost is that of gamma-Boost (Yu and Scully 2024), ``ln(1 / (1 - exp(-gamma * s))) / gamma`` for *s* seconds:
    short prompts go before what arrived a little earlier, by up to some times 1 / gamma. Constants are those of the
    pull request. gamma adapts as it proposes ("gamma-Ada"): every five seconds towards
    ``200 / (1 + 4 * (t99 / t95 - 1))`` per second, by the latencies of the last 2,000 requests, within 1 to 200. Where
    gamma is fixed it stays.

    alpha is the engine's own seconds per prompt token, which is what the proposal's 64 us are of the engine there.
    Where prompts cost nothing it is these 64 us; where all iterations take the same, so that seconds are steps, a step
    counts for one of the default engine's iterations. The paper's part on preemption by attained service and KV memory
    is not in that pull request, and not here; ``unaware`` is near to it.
    """

    def __init__(self, trace: Trace, cost: EngineCost, gamma: float | None = None) -> None:
        """Start at the gamma that is usual.

        Args:
            trace: the trace.
            cost: of the engine.
            gamma: per second, fixed; above 0. None lets it adapt.
        """
        super().__init__(trace)
        in_steps = not (cost.per_sequence or cost.per_prompt_token)
        self._unit = cost.base / EngineCost().base if in_steps else 1.0
        self._alpha = cost.per_prompt_token or ALPHA * self._unit
        self._gamma = (GAMMA if gamma is None else gamma) / self._unit
        self._adapts = gamma is None
        self._uncached: list[int] = trace.uncached.tolist()
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._adapted_at = 0.0

    def key(self, request: int, generated: int) -> Key:
        """Arrival less boost; what was produced is read anew, too."""
        return (self._arrival[request] - self._boost(self._uncached[request] + generated),)

    def finished(self, request: int, now: float) -> None:
        """Learn the latency, and adapt where it is time to."""
        if not self._adapts:
            return
        self._latencies.append(now - self._arrival[request])
        if now - self._adapted_at < _EVERY * self._unit or len(self._latencies) < _FEWEST:
            return
        self._adapted_at = now
        t95, t99 = np.quantile(list(self._latencies), (0.95, 0.99)).tolist()
        heavier = t99 / t95 - 1 if t95 > 0 else 0.0
        target = max(_MOST / (1 + _SENSITIVITY * heavier), _LEAST) / self._unit
        self._gamma += _SMOOTH * (target - self._gamma)
        self._heap = [self._place(waiting) for _, waiting in self._heap]
        heapq.heapify(self._heap)

    def _boost(self, tokens: int) -> float:
        left = -math.expm1(-self._gamma * self._alpha * tokens)
        return min(-math.log(left) / self._gamma, _LARGEST) if left > 0 else _LARGEST
