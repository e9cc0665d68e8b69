"""Whose reports are learned from: nobody fills more than a share of what is learned while others report too.

Reports can be invented, and many of them cost little. So of the last requests that were learned from, one tenant brings
no more than its share. Where the others brought too few of late to judge by, nobody is limited: a tenant that is
alone, or nearly, is all that there is to learn from. At most one tenant is limited at a time, as the others go on.
"""

from __future__ import annotations

from collections import Counter, deque


class TenantShares:
    """Counts what was learned of each tenant. No clock of its own."""

    def __init__(self, share: float = 1.0, period: float = 600.0, least: float = 1.0, size: int = 320) -> None:
        """Start without any.

        Args:
            share: most of any ``size`` requests in a row that one tenant may bring, above 0; 1 is no bound.
            period: seconds; the others are counted over the last half to whole of it.
            least: requests that the others must have brought in it to limit anybody.
            size: the shortest run of requests that anything is decided on.
        """
        self._share, self._half, self._least = share, period / 2.0, max(1.0, least)
        self._last: deque[str] = deque(maxlen=size)
        self._of: Counter[str] = Counter()
        """By tenant, among the last ones."""
        self._recent: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._since = 0.0

    def admit(self, tenant: str, now: float) -> bool:
        """Whether to learn from one more request of a tenant; the empty name stands for all that have none."""
        if self._share >= 1.0:
            return True
        self._advance(now)
        # More than, not as much as: two that share evenly would limit each other for good.
        if tenant and self._of[tenant] > self._share * len(self._last) and self._others(tenant) >= self._least:
            return False
        if len(self._last) == self._last.maxlen:
            oldest = self._last[0]
            self._of[oldest] -= 1
            if not self._of[oldest]:
                del self._of[oldest]
        self._last.append(tenant)
        self._of[tenant] += 1
        self._recent[tenant] += 1
        return True

    def _others(self, tenant: str) -> int:
        own = self._recent[tenant] + self._before[tenant]
        return self._recent.total() + self._before.total() - own

    def _advance(self, now: float) -> None:
        passed = now - self._since
        if passed < self._half:
            return
        self._before = self._recent if passed < 2.0 * self._half else Counter()
        self._recent = Counter()
        self._since = now
