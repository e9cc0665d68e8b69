"""What is known of requests that were served: what costs and patience are learned from."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rankd_client.ordering.rules import FloatArray, IntArray


class ServedRequest(NamedTuple):
    """One request that was served; times in seconds, lengths in tokens."""

    arrival: float
    waited: float
    """Until it was first scheduled."""
    ran: float
    """From then to its end."""
    expected: float
    """Its length as it was expected."""
    output: float = math.nan
    """Tokens that it produced; NaN: not known."""
    prompt: float = math.nan
    """Prompt tokens that the engine read for it, cached ones not; NaN: not known."""

    @property
    def possible(self) -> bool:
        """Whether it can have been so: what must be known is a number, and nothing is negative."""
        known = (self.arrival, self.waited, self.ran, self.expected)
        return all(map(math.isfinite, known)) and not any(value < 0 for value in self[1:])


@dataclass(frozen=True, slots=True)
class ServedRequests:
    """The same of several, by column, [n]."""

    arrival: FloatArray
    waited: FloatArray
    ran: FloatArray
    expected: FloatArray
    output: FloatArray
    prompt: FloatArray

    @classmethod
    def of(cls, rows: Iterable[ServedRequest]) -> ServedRequests:
        """Columns by arrival; those that came at the same time in no order.

        They ended in the order that they were served in: kept, it would be what arrival order is compared with.
        """
        columns = np.array(list(rows), dtype=np.float64).reshape(-1, len(ServedRequest._fields))
        columns = columns[arrival_order(columns[:, 0])]
        return cls(*(columns[:, i].copy() for i in range(columns.shape[1])))

    def __len__(self) -> int:
        return len(self.arrival)


def arrival_order(arrival: FloatArray) -> IntArray:
    """Places by arrival, those that came at the same time in no order, [n]."""
    mixed = np.random.default_rng(0).permutation(len(arrival))
    order: IntArray = mixed[np.argsort(arrival[mixed], kind="stable")]
    return order


class CompletionHistory:
    """The latest completions, a bounded number."""

    def __init__(self, most: int = 2000) -> None:
        """Start without any."""
        self._rows: deque[ServedRequest] = deque(maxlen=max(most, 1))

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, request: ServedRequest) -> None:
        """Note one; what cannot have been so is left out."""
        if request.possible:
            self._rows.append(request)

    def served(self) -> ServedRequests:
        """A copy by column, by arrival."""
        return ServedRequests.of(self._rows)
