"""Scores of a wished Kendall tau against true lengths: what a ranker of that quality would give."""

from __future__ import annotations

import math

import numpy as np

from rankd.errors import ConfigError
from rankd.quality.statistics.kendall import tau_b
from rankd.replay.trace.trace import Floats, Ints

CLOSE = 0.01
"""How near to the wish tau comes, unless that is impossible."""


def scores_of_tau(output: Ints, tau: float, seed: int = 0) -> Floats:
    """Scores with a tau-b as wished: log length turned towards noise by an angle that bisection finds.

    Args:
        output: true lengths, at least 1, [n].
        tau: from -1 to 1; at 1 and -1 there is no noise, and equal lengths have equal scores.
        seed: of the noise.

    Raises:
        ConfigError: there are so many equal lengths, or so few requests, that no noise gives such a tau.
    """
    signal = np.log(output.astype(np.float64))
    if abs(tau) >= 1:
        return math.copysign(1.0, tau) * signal
    spread = float(signal.std())
    noise = np.random.default_rng(seed).standard_normal(len(output)) * (spread or 1.0)

    def at(angle: float) -> Floats:
        return math.cos(angle) * signal + math.sin(angle) * noise

    low, high = 1e-6, math.pi - 1e-6
    best, reached = at(math.pi / 2), math.inf
    for _ in range(50):
        angle = (low + high) / 2
        scores = at(angle)
        got = tau_b(scores, signal)
        if got is None:
            break
        if abs(got - tau) < abs(reached - tau):
            best, reached = scores, got
        low, high = (angle, high) if got > tau else (low, angle)
        if abs(got - tau) < CLOSE / 10:
            break
    if not abs(reached - tau) <= CLOSE:
        most = tau_b(at(1e-6), signal)
        reach = "these lengths are all equal" if most is None else f"equal lengths leave at most about {most:.2f}"
        raise ConfigError(f"no scores of {len(output):,} requests have a tau of {tau:g}: {reach}; give another --tau")
    return best
