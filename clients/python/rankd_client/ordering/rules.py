"""The policy in force: what an order needs to know beside the queue itself."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Policy(enum.Enum):
    """How a queue is ordered."""

    FCFS = "fcfs"
    """First come, first served."""
    SCORE = "score"
    """Shortest predicted answer first; bounds no waiting."""
    DUE = "due"
    """Earliest ``arrival + patience * E`` first."""
    BOOST = "boost"
    """Earliest ``arrival + patience * M * ln(E / M)`` first, M the average length: DUE by ratios of lengths."""
    AGED = "aged"
    """Largest ``waiting time / E ** age_exponent`` first; highest response ratio next where the exponent is 1."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy and everything on top of it. What goes before what: see ``order_queue``.

    Numbers out of range count as the nearest that is in it; NaN counts as the rule not being there.
    """

    policy: Policy = Policy.BOOST
    patience: float = 0.2
    """Theta of DUE and BOOST: seconds of waiting per expected token, under BOOST of a request of average length.
    0 is arrival order."""
    age_exponent: float = 1.0
    """Gamma of AGED. 0 is arrival order."""
    risk: float = 0.0
    """0 to 1: lengths are ``(1 - risk) * E + risk * p90`` where a p90 is known, so that what may be long counts so."""
    wait_cap: float = math.inf
    """Seconds: who waits for longer goes before everybody who does not, the oldest first."""
    overtake_cap: int = 0
    """Who was overtaken so often is not overtaken any more; 0 is no cap."""
    class_step: float | None = None
    """None: a lower class always goes first. Else the seconds of head start that a class has before the next one."""
    pace: float = 0.0
    """Seconds per token that a running request takes, for deadlines."""
    fair_tenants: bool = True
    """Tenants share by what they were served; among themselves each tenant's requests follow the policy."""
    prompt_weight: float = 0.5
    """What a prompt token costs a tenant, in output tokens."""
    prior_expected: float | None = None
    """Length in tokens of a request of which nothing is known, and of an average one. None: the median of the queue."""
    running_first: bool = True
    """Running requests go before waiting ones; False lets those that are due earlier go before them."""
