"""How sure a judgement must be, given how many were tried on the same completions.

Of many candidates that are no better one passes by luck, if each is asked for 95 %. So the judgements of one stretch of
traffic share an error: the k-th gets ``SHARED * 6 / (pi k) ** 2``, and all of them together ``SHARED`` (Bonferroni with
unequal shares, as in alpha spending). Judgements on completions that all ended later are no further tries of the same
luck, and begin anew; so does everything once another ranker is in service.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

SHARED = 0.025
"""Error of all judgements of one stretch, one-sided: what a single 95 % interval has below it."""
_SAME = 0.1
"""Share of new completions up to which judging a candidate again is no further try, as promoting after judging."""
_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Level:
    """What a judgement is held to."""

    tries: int
    """Judgements on completions that these overlap with, this one included."""
    error: float
    """One-sided."""

    @property
    def quantile(self) -> float:
        """Of the normal distribution, for the lower bound."""
        return NormalDist().inv_cdf(1.0 - self.error)


@dataclass(frozen=True, slots=True)
class _Try:
    candidate: str
    first: float
    """When the first of its completions ended, seconds."""
    last: float
    number: int


class JudgementLevels:
    """Counts the judgements of one daemon since its start, in memory."""

    def __init__(self) -> None:
        """Nothing was judged."""
        self._incumbent = ""
        self._tries: deque[_Try] = deque(maxlen=_MOST_REMEMBERED)

    def next(self, incumbent: str, candidate: str, ended_at: Sequence[float]) -> Level:
        """The level of a judgement, which counts from now on.

        Args:
            incumbent: the ranker in service, as ``name@version``.
            candidate: who is judged.
            ended_at: when its completions ended, seconds; at least one.
        """
        if incumbent != self._incumbent:
            self._incumbent = incumbent
            self._tries.clear()
        first, last = min(ended_at), max(ended_at)
        overlapping = [t for t in self._tries if t.last >= first]
        own = next((t for t in reversed(overlapping) if t.candidate == candidate), None)
        if own is not None and sum(at > own.last for at in ended_at) <= _SAME * len(ended_at):
            return level_of(own.number)
        number = 1 + max((t.number for t in overlapping), default=0)
        self._tries.append(_Try(candidate, first, last, number))
        return level_of(number)


def level_of(tries: int) -> Level:
    """The level of the k-th judgement."""
    return Level(tries, SHARED * 6.0 / (math.pi * tries) ** 2)
