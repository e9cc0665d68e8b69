"""The confidence sequence: intervals that are valid after every block, and what stops a pilot.

For a number that is as likely x as -x whatever came before, exp(λx) / cosh(λx) is 1 in the mean, for any λ; so is the
product over blocks, and the mixture over several λ. Such a product reaches 1/a with probability a at most, at any time
(Ville 1939). Differences of blocks are of that kind around a constant effect because the order in a block was drawn by
lot (see ``interval``): with no effect the bound on false stops needs no assumption on load or latency.
The interval holds the effects that have not been refuted that way; like exp(λx - λ²x²/2) of de la Peña (1999) but
sharper, and following Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences" (2021), as to the inversion.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RATES = 0.25 * 2.0 ** np.arange(9)
"""λ, per unit of log ratio: .25 serves hundreds of blocks that differ by a factor of e, 64 a few that agree to 3 %."""
_STEPS = 40
_FAR = 50.0
"""In units of log ratio."""


def log_evidence(differences: Floats) -> float:
    """How strongly blocks speak against an effect of 0 or less: a logarithm, 0 where they say nothing.

    With such an effect it exceeds log(1/a) at any time with probability a at most.

    Args:
        differences: [blocks] log ratios.
    """
    scaled = _RATES[:, None] * differences[None, :]
    # x - log(cosh(x)), without overflow
    gains = (scaled - np.abs(scaled) - np.log1p(np.exp(-2.0 * np.abs(scaled)))).sum(axis=1)
    gains += len(differences) * math.log(2.0)
    top = float(gains.max())
    return top + math.log(float(np.exp(gains - top).mean()))


def lower_bound(differences: Floats, alpha: float) -> float:
    """The effect that is exceeded, sure but for ``alpha`` however often it is asked; -inf where nothing is known.

    Args:
        differences: [blocks] log ratios.
        alpha: probability that the bound is ever above the true effect.
    """
    wanted = math.log(1.0 / alpha)
    if len(differences) * math.log(2.0) <= wanted:
        return -math.inf
    high = float(differences.max())  # evidence against it is 0 or less
    low = float(differences.min()) - _FAR
    if log_evidence(differences - low) < wanted:
        return -math.inf
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if log_evidence(differences - middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


def sequence_interval(differences: Floats, alpha: float = 0.05) -> tuple[float, float]:
    """Bounds of the effect that all hold together over all times with probability 1 - alpha.

    Args:
        differences: [blocks] log ratios.
        alpha: the share of pilots in which they ever miss.
    """
    return lower_bound(differences, alpha / 2.0), -lower_bound(-differences, alpha / 2.0)
