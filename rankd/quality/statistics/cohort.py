"""A cohort of requests as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOTABLE = 0.05
"""Share of a cohort from which on a tenant is examined: a smaller one moves tau by hardly more than chance does."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Requests that arrived in a window: ``tokens`` is the length where ``complete``, else a lower bound."""

    score: NDArray[np.float64]
    tokens: NDArray[np.int64]
    complete: NDArray[np.bool_]
    source: NDArray[np.uint64] | None = None
    """Whose reports they are, as in ``OutcomeReport``."""
    prompt: NDArray[np.int64] | None = None
    """Uncached prompt tokens, -1 where they were not counted; None where nobody counts any."""
    prompt_work: NDArray[np.int64] | None = None
    """Known part of what is compared, at least 0: work is ``tokens`` and this. None: lengths alone are compared."""

    def notable_sources(self) -> list[int]:
        """Those that are a notable share of the cohort."""
        if self.source is None or not self.source.any():
            return []
        found, counts = np.unique(self.source, return_counts=True)
        return [int(s) for s in found[counts >= max(1.0, NOTABLE * len(self.source))] if s]

    def without(self, source: int) -> Cohort:
        """The cohort without what one source reported."""
        assert self.source is not None
        return self._kept(self.source != np.uint64(source))

    def only(self, source: int) -> Cohort:
        """What one source reported of the cohort."""
        assert self.source is not None
        return self._kept(self.source == np.uint64(source))

    def _kept(self, kept: NDArray[np.bool_]) -> Cohort:
        return Cohort(
            self.score[kept],
            self.tokens[kept],
            self.complete[kept],
            None if self.source is None else self.source[kept],
            None if self.prompt is None else self.prompt[kept],
            None if self.prompt_work is None else self.prompt_work[kept],
        )
