"""Requests that wait, by row and column, kept dense: who leaves is replaced by the last row."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.columns import OrderColumns
from rankd_client.ordering.rules import FloatArray, IntArray

FLOATS = (
    "arrival",
    "score",
    "expected",
    "p90",
    "generated",
    "max_tokens",
    "deadline",
    "prompt_tokens",
    "cached",
    "learned",
)
_INTS = ("overtaken", "priority_class")
Rows = slice | NDArray[np.intp]


@dataclass(slots=True)
class WaitingTable:
    """One block of numbers for each type, so that a row moves in two steps: an engine's caches are cold."""

    ids: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    real: FloatArray = field(default_factory=lambda: np.empty((len(FLOATS) + 1, 16)))
    whole: IntArray = field(default_factory=lambda: np.empty((len(_INTS) + 2, 16), dtype=np.int64))
    floats: dict[str, FloatArray] = field(init=False)
    """Columns by name; views, which ``grow`` replaces."""
    ints: dict[str, IntArray] = field(init=False)
    length: FloatArray = field(init=False)
    """Expected lengths within what is certain, tokens."""
    key: IntArray = field(init=False)
    code: IntArray = field(init=False)
    """Tenants by number."""

    def __post_init__(self) -> None:
        """Name the columns."""
        self._name()

    def _name(self) -> None:
        self.floats = dict(zip(FLOATS, self.real, strict=False))
        self.ints = dict(zip(_INTS, self.whole, strict=False))
        self.length, self.key, self.code = self.real[-1], self.whole[-2], self.whole[-1]

    def grow(self) -> None:
        """Make room for one more row."""
        if len(self.ids) == self.real.shape[1]:
            self.real = np.concatenate((self.real, np.empty_like(self.real)), axis=1)
            self.whole = np.concatenate((self.whole, np.empty_like(self.whole)), axis=1)
            self._name()

    def columns(self, rows: Rows) -> OrderColumns:
        """Some rows as a queue. Views where they are a slice: no view outlives the call that made it."""
        floats, ints = self.floats, self.ints
        if isinstance(rows, slice):
            ids, tenants = self.ids[rows], self.tenants[rows]
        else:
            ids = [self.ids[row] for row in rows.tolist()]
            tenants = [self.tenants[row] for row in rows.tolist()]
        return OrderColumns(
            request_ids=ids,
            arrival=floats["arrival"][rows],
            score=floats["score"][rows],
            expected=floats["expected"][rows],
            p90=floats["p90"][rows],
            generated=floats["generated"][rows],
            max_tokens=floats["max_tokens"][rows],
            deadline=floats["deadline"][rows],
            overtaken=ints["overtaken"][rows],
            priority_class=ints["priority_class"][rows],
            tenant=tenants,
            prompt_tokens=floats["prompt_tokens"][rows],
            cached_prompt_tokens=floats["cached"][rows],
            learned=floats["learned"][rows],
        )

    def drop(self, row: int) -> None:
        """Let a row go."""
        last = len(self.ids) - 1
        if row != last:
            self.real[:, row] = self.real[:, last]
            self.whole[:, row] = self.whole[:, last]
            self.ids[row], self.tenants[row] = self.ids[last], self.tenants[last]
        self.ids.pop()
        self.tenants.pop()
