"""How often each caller may call: token buckets, one per caller, a bounded number of them. The clock is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import grpc

from rankd.auth import Caller, Quota

_MOST_CALLERS = 4096


class RateLimit:
    """Refuses callers beyond their rate."""

    def __init__(self, per_second: float, burst: int) -> None:
        """Allow ``per_second`` calls a second and caller, and ``burst`` at once; 0 allows all that have no quota."""
        self._default = Quota(per_second, burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take_of(self, caller: Caller, now: float) -> float:
        """Take one call of a caller, and of its tenant; as ``take``."""
        own = caller.credential.quota if caller.credential is not None else None
        if own is None and caller.tenant_quota is None and self._default.per_second <= 0:
            return 0.0
        meters = [(caller.key, own or self._default)]
        if caller.tenant_quota is not None:
            meters.append((f"tenant {caller.tenant}", caller.tenant_quota))
        return self.take(meters, now)

    def take(self, meters: Sequence[tuple[str, Quota]], now: float) -> float:
        """Take one call from every bucket, or from none; 0 where it is allowed, else the seconds after which it is."""
        wait = 0.0
        filled: list[tuple[str, float]] = []
        for key, quota in meters:
            if quota.per_second <= 0:
                continue
            left, at = self._buckets.pop(key, (float(quota.burst), now))
            left = min(float(quota.burst), left + max(0.0, now - at) * quota.per_second)
            filled.append((key, left))
            if left < 1:
                wait = max(wait, (1 - left) / quota.per_second)
        for key, left in filled:
            self._buckets[key] = (left if wait else left - 1, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait


def caller_of(context: grpc.aio.ServicerContext) -> str:
    """Who calls: the identity of a client certificate, else the address without its port."""
    identities = context.peer_identities()
    if identities:
        return str(identities[0])
    peer: str = context.peer() or ""
    return peer.rpartition(":")[0]
