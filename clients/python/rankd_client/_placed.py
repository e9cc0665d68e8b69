"""How requests were placed in an engine's queue, as its plug-in or a proxy tells the daemon. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client.v1 import completion_pb2

_MOST = 2**31


@dataclass(frozen=True, slots=True)
class Placed:
    """Requests by how they were placed when they went to the engine."""

    ranked: int = 0
    """By their scores."""
    too_late: int = 0
    """In arrival order, as their scores did not come in time."""
    unreachable: int = 0
    """In arrival order, as the daemon could not be reached, or refused the call."""
    other: int = 0
    """In another order for another reason: no text, the guard, a priority of the client's own."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.ranked + self.too_late + self.unreachable + self.other

    @property
    def missed(self) -> int:
        """Those that were to be ranked, and were not."""
        return self.too_late + self.unreachable

    @property
    def missed_share(self) -> float | None:
        """These, of all that were to be ranked; None where there were none."""
        wanted = self.ranked + self.missed
        return self.missed / wanted if wanted else None

    def __add__(self, more: Placed) -> Placed:
        return Placed(
            self.ranked + more.ranked,
            self.too_late + more.too_late,
            self.unreachable + more.unreachable,
            self.other + more.other,
        )


def placed_of(message: completion_pb2.PlacedRequests) -> Placed:
    """What a message says."""
    return Placed(message.ranked_count, message.too_late_count, message.unreachable_count, message.other_count)


def placed_message(placed: Placed) -> completion_pb2.PlacedRequests:
    """The same as a message."""
    return completion_pb2.PlacedRequests(
        ranked_count=min(placed.ranked, _MOST),
        too_late_count=min(placed.too_late, _MOST),
        unreachable_count=min(placed.unreachable, _MOST),
        other_count=min(placed.other, _MOST),
    )
