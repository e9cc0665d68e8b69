"""A trace: who arrived when, with how long a prompt, and how long the answer became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their arrival; one entry per request in every column."""

    arrival: Floats
    """Seconds, never decreasing."""
    prompt: Ints
    """Input tokens, at least 0."""
    output: Ints
    """Output tokens, at least 1."""
    cached: Ints | None = None
    """Input tokens that the prefix cache holds when it arrives, at most as many as it has; None: none of any."""
    score: Floats | None = None
    """A ranker's scores, higher is longer; NaN: none."""
    tenant: Ints | None = None
    """Place of the tenant in ``tenants``."""
    tenants: tuple[str, ...] = ()
    priority_class: Ints | None = None
    """Lower is more urgent."""
    features: Sequence[bytes] | None = None
    """What a prediction carries of each to be learned from; empty where nothing."""

    def __post_init__(self) -> None:
        """Refuse what no simulation can run on.

        Raises:
            ValueError: naming the column at fault.
        """
        n = len(self.arrival)
        for name in ("prompt", "output", "cached", "score", "tenant", "priority_class", "features"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"{name} has {len(column)} entries for {n} arrivals")
        if not np.isfinite(self.arrival).all() or (np.diff(self.arrival) < 0).any():
            raise ValueError("arrival must be finite and never decrease")
        if n and (self.prompt.min() < 0 or self.output.min() < 1):
            raise ValueError("prompt must be at least 0 tokens and output at least 1")
        if n and self.cached is not None and ((self.cached < 0) | (self.cached > self.prompt)).any():
            raise ValueError("cached must be at least 0 tokens and at most those of the prompt")

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def uncached(self) -> Ints:
        """Input tokens that the engine has to read, [n]."""
        return self.prompt if self.cached is None else self.prompt - self.cached

    @property
    def span(self) -> float:
        """Seconds that so many arrivals take: n mean gaps."""
        n = len(self.arrival)
        return float(self.arrival[-1] - self.arrival[0]) * n / (n - 1) if n > 1 else 0.0

    def first(self, most: int) -> Trace:
        """The first requests, at most so many."""
        return self.take(slice(0, most)) if most < len(self) else self

    def take(self, rows: slice) -> Trace:
        """Requests that follow each other."""
        return replace(
            self,
            arrival=self.arrival[rows],
            prompt=self.prompt[rows],
            output=self.output[rows],
            cached=None if self.cached is None else self.cached[rows],
            score=None if self.score is None else self.score[rows],
            tenant=None if self.tenant is None else self.tenant[rows],
            priority_class=None if self.priority_class is None else self.priority_class[rows],
            features=None if self.features is None else self.features[rows],
        )

    def faster(self, factor: float) -> Trace:
        """The same requests, arriving so many times as fast."""
        return replace(self, arrival=(self.arrival - self.arrival[:1]) / factor)

    def burst(self) -> Trace:
        """The same requests, all arriving at once."""
        return replace(self, arrival=np.zeros(len(self)))
