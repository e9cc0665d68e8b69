"""One budget of memory for all that is under way: bodies that are read ahead, and answers that nobody takes.

Whoever is beyond his share is told to come again, or is passed on without being read. The shares leave something for
everybody else, whatever one client does: what is much and of one address takes no more than is left after it, so alone
at most half; with one credential no more than the address may take after it, so alone at most a third.
"""

from __future__ import annotations

from rankd.settings.memory_limit import memory_limit, memory_used

REQUEST = 2**15
"""What a request takes by itself, in bytes: measured, and rounded up."""
STREAM = 2**18
"""What a body that passes unread takes in buffers at most, and an answer that is not taken."""
HELD = 3
"""A body that is read whole is bytes, then text, then a message to the daemon."""
_LITTLE = 2**16
_MUCH = 2**24
_LEAST = 2**24
"""A budget where there is hardly any memory: a proxy that refuses all is of no use."""


def default_budget() -> int:
    """Half of what the process may have and has not taken yet, in bytes."""
    return max(_LEAST, (memory_limit() - memory_used()) // 2)


class BodyBudget:
    """Knows what every request holds."""

    def __init__(self, limit: int) -> None:
        """Let all requests together take ``limit`` bytes."""
        self.limit = limit
        self.used = self._peak = 0
        self._addresses: dict[str, int] = {}
        self._credentials: dict[int, int] = {}

    def hold(self, address: str, credential: bytes) -> Hold:
        """What a request of a client holds: nothing yet."""
        return Hold(self, address, hash((address, credential)))

    def take(self, hold: Hold, more: int) -> bool:
        """Let a request hold so many bytes more; whether it may. Less always can be."""
        address = self._addresses.get(hold.address, 0) + more
        credential = self._credentials.get(hold.credential, 0) + more
        used = self.used + more
        if more > 0 and not self._fits(hold.size + more, address, credential, used):
            return False
        self.used = used
        self._peak = max(self._peak, used)
        self._addresses[hold.address], self._credentials[hold.credential] = address, credential
        hold.size += more
        if not address:  # clients come and go
            del self._addresses[hold.address]
        if not credential:
            del self._credentials[hold.credential]
        return True

    def _fits(self, size: int, address: int, credential: int, used: int) -> bool:
        if size <= _LITTLE:  # the last sixteenth is for those that have little in all
            return used <= self.limit and (used <= self.limit - self.limit // 16 or address <= self.limit // 16)
        left = self.limit - self.limit // 8 - used
        return address <= left and credential <= left - address

    def freed_much(self) -> bool:
        """Whether most of what was used at some time is free; true once for each such time."""
        if self._peak < _MUCH or self.used > self._peak // 4:
            return False
        self._peak = self.used
        return True


class Hold:
    """What one request holds of the budget."""

    __slots__ = ("_budget", "address", "credential", "size")

    def __init__(self, budget: BodyBudget, address: str, credential: int) -> None:
        """Hold nothing yet."""
        self._budget, self.address, self.credential, self.size = budget, address, credential, 0

    def take(self, more: int) -> bool:
        """Hold so many bytes more, if that fits."""
        return self._budget.take(self, more)

    def cover(self, size: int) -> bool:
        """Hold so many at least, if that fits."""
        return size <= self.size or self._budget.take(self, size - self.size)

    def release(self) -> None:
        """Hold nothing any more."""
        if self.size:
            self._budget.take(self, -self.size)
