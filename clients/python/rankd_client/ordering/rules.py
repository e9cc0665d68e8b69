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
    """Least expected work first; bounds no waiting."""
    DUE = "due"
    """Earliest ``arrival + patience * W`` first, W the expected work in output tokens (``work.py``)."""
    BOOST = "boost"
    """Earliest ``arrival + patience * M * ln(W / M)`` first, M the average work: DUE by ratios of work."""
    AGED = "aged"
    """Largest ``waiting time / W ** age_exponent`` first; highest response ratio next where the exponent is 1."""
    LONGEST = "longest"
    """Most expected work first, as longest processing time first (Graham 1969); bounds no waiting."""


class Objective(enum.Enum):
    """What a queue is ordered for. ``policy_for`` says by which policy, ``patience_tuning`` with how much patience."""

    TAIL = "tail"
    """Shorter waits as far as the slowest hundredth waits hardly longer than in arrival order."""
    BALANCED = "balanced"
    """Most of the gain in the mean, for a slowest hundredth that waits somewhat longer."""
    MEAN = "mean"
    """The shortest mean, with a cap on how much longer anybody waits."""
    SLO = "slo"
    """The shortest mean that keeps a target; where arrival order misses it, the order that keeps it for most."""
    MAKESPAN = "makespan"
    """A batch: the whole of it done soonest."""
    FIRST = "first"
    """A batch: its first answers soonest, whoever is last."""


@dataclass(frozen=True, slots=True)
class ClassPolicy:
    """How the requests of one priority class are ordered among themselves, where that is not as the others are."""

    priority_class: int
    policy: Policy
    patience: float
    """As ``Rules.patience``."""


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
    """Seconds per output token that a running request takes, for deadlines."""
    fair_tenants: bool = True
    """Tenants share by what they were served; among themselves each tenant's requests follow the policy."""
    prompt_weight: float = 0.5
    """What a prompt token costs a tenant, in output tokens."""
    prior_expected: float | None = None
    """Length in tokens of a request of which nothing is known, and of an average one. None: the median of the queue."""
    running_first: bool = True
    """Running requests go before waiting ones; False lets those that are due earlier go before them."""
    prompt_cost: float = 0.0
    """What an uncached prompt token counts for in expected work, in output tokens. 0: work is length."""
    mean_work: float | None = None
    """Expected work of an average request, output tokens. None: ``prior_expected``, or the median of the queue."""
    ignore_lengths: bool = False
    """Expect ``prior_expected`` of every answer, whatever is said of it, so that prompts alone order."""
    prompt_pace: float = 0.0
    """Seconds that an uncached prompt token takes, for deadlines."""
    class_policies: tuple[ClassPolicy, ...] = ()
    """Classes that are ordered among themselves in another way."""
