"""One budget of memory for all that is in flight: requests, what streams keep, answers that nobody has read yet.

What a call takes is estimated from bytes on the wire, upwards. Whoever is beyond their share is refused before the
memory is taken; the shares leave something for everybody else, whatever one connection or one caller does:

- a caller may hold as much as is left after that, so one alone at most half, two a third each;
- a connection as much as its caller may hold more, so one alone at most a third;
- an eighth of all is for connections that hold little.
"""

from __future__ import annotations

from rankd.errors import QuotaError
from rankd.settings.memory_limit import memory_limit, memory_used

CALL_BYTES = 2**15
"""What a call takes by itself, in gRPC and here, with what gRPC reads ahead of it."""
_MESSAGE_FACTOR = 4
"""A request is bytes, then a message, then text; and there is an answer to it."""
_ENTRY_BYTES = 768
"""What an item takes beside its bytes, however few they are: an object, columns, keys, an entry of the answer."""
_NESTED_BYTES = 80
"""What a small entry within an item takes beside its bytes."""
_LITTLE = 2**18
_MUCH = 2**24
_LEAST = 2**24
"""Bytes of a budget where there is hardly any memory: a daemon that refuses all is of no use."""
_RETRY_AFTER = 1.0


def message_cost(size: int, entries: int = 0, nested: int = 0) -> int:
    """Bytes of memory that a request takes while it is answered.

    Args:
        size: bytes on the wire.
        entries: of its repeated fields.
        nested: small entries within these, or what looks like them.
    """
    return size * _MESSAGE_FACTOR + entries * _ENTRY_BYTES + nested * _NESTED_BYTES


def default_budget() -> int:
    """Half of what the process may have and has not taken yet, in bytes."""
    return max(_LEAST, (memory_limit() - memory_used()) // 2)


class MemoryBudget:
    """Knows what every call holds."""

    def __init__(self, limit: int) -> None:
        """Let all calls together take ``limit`` bytes."""
        self.limit = limit
        self.used = 0
        self.peak = 0
        """The most that was used since much of it was freed; 0 where that is not much."""
        self._callers: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        self.refused = 0

    def hold(self, caller: str, connection: str) -> Reservation:
        """What a call of a caller, over a connection, holds: nothing yet."""
        return Reservation(self, caller, connection)

    def take(self, hold: Reservation, more: int) -> None:
        """Let a call hold more; less always can be.

        Raises:
            QuotaError: that is beyond the budget, or beyond the caller's or the connection's share of it.
        """
        connection = self._connections.get(hold.connection, 0) + more
        caller = self._callers.get(hold.caller, 0) + more
        used = self.used + more
        if more > 0 and not self._fits(caller, connection, used):
            self.refused += 1
            raise QuotaError(
                f"the calls in flight, or those of this caller, take as much memory as limits.memory_bytes = "
                f"{self.limit} lets them: send less at a time, read answers, or give the daemon more memory",
                retry_after=_RETRY_AFTER,
            )
        self.used = used
        if used > self.peak and used > _MUCH:
            self.peak = used
        hold.size += more
        _put(self._callers, hold.caller, caller)
        _put(self._connections, hold.connection, connection)

    def freed_much(self) -> bool:
        """Whether most of what was used at some time is free; true once for each such time."""
        if not self.peak or self.used > self.peak // 4:
            return False
        self.peak = 0
        return True

    def _fits(self, caller: int, connection: int, used: int) -> bool:
        if connection <= _LITTLE:
            return used <= self.limit
        left = self.limit - self.limit // 8 - used
        return caller <= left and connection <= left - caller


def _put(sums: dict[str, int], key: str, value: int) -> None:
    """Callers and connections come and go: who holds nothing is forgotten."""
    if value:
        sums[key] = value
    else:
        del sums[key]


class Reservation:
    """What one call holds of the budget."""

    __slots__ = ("_budget", "caller", "connection", "size")

    def __init__(self, budget: MemoryBudget, caller: str, connection: str) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self.caller = caller
        self.connection = connection
        self.size = 0

    def resize(self, size: int) -> None:
        """Hold so much from now on.

        Raises:
            QuotaError: that is more than the share allows; what was held is held still.
        """
        if size != self.size:
            self._budget.take(self, size - self.size)

    def release(self) -> None:
        """Hold nothing any more."""
        self.resize(0)
