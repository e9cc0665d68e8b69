"""What a snapshot may say of what was learned: no number that nothing could ever be learned to be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_COUNT = 2**31
MOST_STEPS_BACK = 64
_MOST_WEIGHT = 1e9
_MOST_LOG = 1e3


class ImplausibleError(ValueError):
    """What was saved of what was learned cannot be, though it can be read: all else of its window can."""


def count(value: Any, most: int = MOST_COUNT) -> int:
    """A whole number from 0 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ImplausibleError("a count in range is expected")
    return value


def weights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite numbers that stay so in single precision, and in a sum of many."""
    if not (np.abs(values) <= _MOST_WEIGHT).all():
        raise ImplausibleError("weights in range are expected")
    return values


def bounds(low: float, high: float) -> tuple[float, float]:
    """Logarithms of lengths between which predictions are."""
    if not -_MOST_LOG <= low <= high <= _MOST_LOG:
        raise ImplausibleError("bounds in range are expected")
    return low, high
