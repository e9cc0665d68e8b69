"""Who calls, and how often: token buckets, one per caller, a bounded number of them. The clock is an argument."""

from __future__ import annotations

from collections import OrderedDict

import grpc

_MOST_CALLERS = 4096


class RateLimit:
    """Refuses callers beyond their rate."""

    def __init__(self, per_second: float, burst: int) -> None:
        """Allow ``per_second`` calls a second and caller, and ``burst`` at once; 0 allows all."""
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether there is a limit at all."""
        return self._per_second > 0

    def take(self, caller: str, now: float) -> float:
        """Take one call; 0 where it is allowed, else the seconds after which one will be."""
        if not self.enabled:
            return 0.0
        left, at = self._buckets.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + max(0.0, now - at) * self._per_second)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


def caller_of(context: grpc.aio.ServicerContext) -> str:
    """Who calls: the identity of a client certificate, else the address without its port."""
    identities = context.peer_identities()
    if identities:
        return str(identities[0])
    peer: str = context.peer() or ""
    return peer.rpartition(":")[0]
