"""Who sends the traffic: a bounded tally of items by tenant.

Callers choose these names, and may choose a new one for every item: those with the most items keep their place, what a
tenant loses with its place is counted under the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class TenantTally:
    """What came from one tenant, or from several."""

    answers: int = 0
    """Queues ordered in which it had an item."""
    items: int = 0
    """Its items in them; one that waits through several orders counts in each."""
    scored: int = 0
    """Items that got a new prediction: about its requests."""
    unscored: int = 0
    """Items without any score."""

    def add(self, other: TenantTally) -> None:
        """Take another's counts in."""
        self.answers += other.answers
        self.items += other.items
        self.scored += other.scored
        self.unscored += other.unscored

    def subtract(self, other: TenantTally) -> None:
        """Take another's counts out."""
        self.answers -= other.answers
        self.items -= other.items
        self.scored -= other.scored
        self.unscored -= other.unscored


class TenantCounts:
    """The tally of one daemon."""

    def __init__(self, most: int) -> None:
        """Start empty; ``most`` tenants are named."""
        self._most = most
        self._named: dict[str, TenantTally] = {}
        self._others = TenantTally()

    def count(
        self, names: Sequence[str] | None, items: int, fresh: NDArray[np.bool_], missing: Collection[int]
    ) -> None:
        """Count an answer.

        Args:
            names: of the tenants, by item; None where no item names one.
            items: how many there are.
            fresh: [items] those with a new prediction.
            missing: those without a score, by index.
        """
        if not items:
            return
        if names is None:
            self._take(
                "", TenantTally(1, items, int(np.count_nonzero(fresh)), sum(1 for _ in missing) if missing else 0)
            )
            return
        scored = Counter(names[i] for i in np.flatnonzero(fresh).tolist())
        unscored = Counter(names[i] for i in missing)
        numbers = Counter(names)
        left = TenantTally(len(numbers), items, scored.total(), unscored.total())
        # The largest. More than have a place are not even looked for one: there may be as many names as items.
        largest = dict(numbers.most_common(self._most))
        for name in largest | dict.fromkeys(n for n in self._named if n in numbers):
            tally = TenantTally(1, numbers[name], scored[name], unscored[name])
            left.subtract(tally)
            self._take(name, tally)
        self._others.add(left)

    def count_one(self, name: str, fresh: int, missing: int) -> None:
        """Count an answer of one item; its tenant's name may be empty."""
        tally = self._named.get(name)
        if tally is None or not self._most:
            self._take(name, TenantTally(1, 1, fresh, missing))
            return
        tally.answers += 1
        tally.items += 1
        tally.scored += fresh
        tally.unscored += missing

    def _take(self, name: str, tally: TenantTally) -> None:
        if (known := self._named.get(name)) is not None:
            known.add(tally)
        elif not self._most:
            self._others.add(tally)
        else:
            if len(self._named) >= self._most:
                # Names made up for a single item push out each other, not who sends many.
                self._others.add(self._named.pop(min(self._named, key=lambda n: self._named[n].items)))
            self._named[name] = tally

    def tallies(self) -> tuple[list[tuple[str, TenantTally]], TenantTally]:
        """Those with a name, the largest first, and all others together. May be called in any thread."""
        return sorted(self._named.copy().items(), key=lambda t: -t[1].items), self._others
