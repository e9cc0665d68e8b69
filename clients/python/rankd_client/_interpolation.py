"""Piecewise linear maps of one number in plain numbers: numpy takes as long for one as for a hundred."""

from __future__ import annotations

import math


def value_between(scores: list[float], values: list[float], at: int, score: float) -> float:
    """The value at a score of which ``scores[at]`` is the largest not above it, step by step as numpy's ``interp``."""
    if len(scores) == 1:
        return values[0]
    if math.isnan(score):
        return score
    if at < 0:
        return values[0]
    low = values[at]
    if at == len(scores) - 1 or scores[at] == score:
        return low
    high = values[at + 1]
    slope = (high - low) / (scores[at + 1] - scores[at])
    value = slope * (score - scores[at]) + low
    if math.isnan(value):
        value = slope * (score - scores[at + 1]) + high
        if math.isnan(value) and low == high:
            return low
    return value
