"""Which policy orders the queue when: pairs of time slots, in each pair the order drawn by lot.

Requests of one queue delay each other, so splitting them into two groups compares nothing; the whole queue alternates
instead (a switchback). Everything here is a function of the plan and the time: replicas that were given the same plan
are in the same slot without talking to each other.
"""

from __future__ import annotations

import enum
import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

MOST_BLOCKS = 1000
SLOTS_PER_BLOCK = 2
_WORD = 2**32
_FAR = 1e12


class Arm(enum.Enum):
    """What a slot's queue is ordered by."""

    CONTROL = "control"
    TREATMENT = "treatment"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Slots 0, 1, 2 ... from ``start`` on; slots 2b and 2b + 1 are block b and hold each arm once."""

    seed: int
    """What the order within blocks is drawn from, 0 to 2^64 - 1."""
    start: float
    """When slot 0 begins, seconds."""
    slot: float
    """Length of a slot, seconds."""
    washout: float
    """At the start of each slot, seconds: who arrives in it meets what the other policy left, and is not counted."""
    blocks: int
    """Pairs of slots, 1 to MOST_BLOCKS."""

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        if not 0 <= self.seed < 2**64:
            raise ValueError("seed must be 0 to 2^64 - 1")
        if not (abs(self.start) < _FAR and 0 < self.slot < _FAR):
            raise ValueError("start and slot must be times in seconds, and slot above 0")
        if not 0 <= self.washout < self.slot:
            raise ValueError("washout must be at least 0 and shorter than the slot")
        if not 1 <= self.blocks <= MOST_BLOCKS:
            raise ValueError(f"blocks must be 1 to {MOST_BLOCKS}")

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return self.blocks * SLOTS_PER_BLOCK

    @property
    def end(self) -> float:
        """When the last slot ends, seconds."""
        return self.ends(self.slots - 1)

    def begins(self, slot: int) -> float:
        """When a slot begins, seconds."""
        return self.start + slot * self.slot

    def ends(self, slot: int) -> float:
        """When a slot ends, seconds."""
        return self.begins(slot + 1)

    def slot_at(self, time: float) -> int | None:
        """The slot that a time is in; None before the first and after the last."""
        slot = math.floor((time - self.start) / self.slot)
        return slot if 0 <= slot < self.slots else None

    def counted_slot(self, arrival: float) -> int | None:
        """The slot in which a request counts that arrived then; None in washout and outside of all slots.

        It counts where it arrived, wherever it ends: what a policy did to it is that policy's, also when it is served
        by the next.
        """
        slot = self.slot_at(arrival)
        return None if slot is None or arrival - self.begins(slot) < self.washout else slot

    def arm(self, slot: int) -> Arm:
        """What orders the queue in a slot."""
        block, second = divmod(slot, SLOTS_PER_BLOCK)
        treatment_second = _drawn(self.seed, b"arm", block) & 1
        return Arm.TREATMENT if second == treatment_second else Arm.CONTROL

    def ticket(self, slot: int) -> int:
        """A slot's name on the wire, 1 to 2^64 - 1; slots of another schedule have other names."""
        return self._tag * _WORD + slot + 1

    def slot_of(self, ticket: int) -> int | None:
        """The slot of that name; None where it is none of this schedule."""
        tag, number = divmod(ticket, _WORD)
        return number - 1 if tag == self._tag and 1 <= number <= self.slots else None

    @property
    def _tag(self) -> int:
        return _drawn(self.seed, b"tag", round(self.start * 1e3)) % _WORD


@lru_cache(maxsize=4096)
def _drawn(seed: int, use: bytes, number: int) -> int:
    """64 bits that depend on nothing else, and look like nothing else; kept, as every request asks for some."""
    text = number.to_bytes(40, "big", signed=True)
    key = seed.to_bytes(8, "big")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=key, person=use).digest(), "big")
