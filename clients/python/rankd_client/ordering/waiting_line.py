"""Who goes next, while keys stay as they are: a heap of the first in line, so that looking costs next to nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from rankd_client.ordering.waiting_table import WaitingTable

_FIRST = 128
"""Of a long queue that are lined up at once: sorting all would cost more than they are ever looked at."""


class WaitingLine:
    """The rows of a table by (key, arrival, id). Who left, or has another key by now, is passed over.

    Python's numbers rather than arrays: between two looks an engine runs its model, after which the first touch of
    numpy's code alone takes longer than this.
    """

    def __init__(self, table: WaitingTable, row_of: Callable[[str], int | None]) -> None:
        """Take the table, and what tells an id's row; nothing is lined up yet."""
        self._table, self._row_of = table, row_of
        self._heap: list[tuple[int, float, str]] = []
        self._limit: int | None = None
        """Rows beyond this key are not in the heap; None: all are."""
        self._whole = False

    def forget(self) -> None:
        """Keys have changed."""
        self._whole = False

    def join(self, row: int) -> None:
        """A row is new, or its key is."""
        if not self._whole:
            return
        table = self._table
        key = int(table.key[row])
        if self._limit is None or key <= self._limit:
            heapq.heappush(self._heap, (key, float(table.floats["arrival"][row]), table.ids[row]))
            if len(self._heap) > 2 * len(table.ids) + _FIRST:
                self._whole = False  # mostly of those that are gone

    def first(self) -> int:
        """The row that goes next; somebody must wait."""
        table = self._table
        key, arrival = table.key, table.floats["arrival"]
        while True:
            if not self._whole or not self._heap:
                self._line_up()
            place = self._heap[0]
            row = self._row_of(place[2])
            if row is not None and key[row] == place[0] and arrival[row] == place[1]:
                return row
            heapq.heappop(self._heap)

    def _line_up(self) -> None:
        table = self._table
        n = len(table.ids)
        key, arrival = table.key[:n], table.floats["arrival"][:n]
        self._limit, self._whole = None, True
        rows: list[int] = list(range(n))
        if n > 2 * _FIRST:
            self._limit = int(np.partition(key, _FIRST)[_FIRST])
            some = np.flatnonzero(key <= self._limit)
            rows, key, arrival = some.tolist(), key[some], arrival[some]
        self._heap = [(k, a, table.ids[row]) for k, a, row in zip(key.tolist(), arrival.tolist(), rows, strict=True)]
        heapq.heapify(self._heap)
