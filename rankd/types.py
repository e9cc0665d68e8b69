"""The words every room shares: frozen values, no behaviour that needs I/O.

Units: times are seconds since the epoch (float), lengths are output tokens.
A *score* has no unit; higher means a longer answer.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FinishReason(enum.Enum):
    """Why a request ended, or that it has not."""

    STOP = "stop"
    """The model ended its answer: the length is known."""
    LENGTH = "length"
    """Cut at max_tokens: the length is a lower bound, unless said to be complete."""
    ABORTED = "aborted"
    """The engine gave it up: a lower bound."""
    CANCELLED = "cancelled"
    """The caller went away: a lower bound."""
    IN_PROGRESS = "in_progress"
    """Still waiting or running: a lower bound that a later report replaces."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One outcome as an engine reports it, with the prediction echoed.

    ``tokens`` is the number of output tokens so far; ``complete`` says that the length is known
    rather than a lower bound (right-censored). ``final`` is false for progress.
    """

    request_id: str
    model: str
    ranker_version: str
    score: float
    tokens: int
    final: bool
    complete: bool
    arrival: float


class GuardMode(enum.Enum):
    """What the guard says about a ranker."""

    WARMING_UP = "warming_up"
    RANKED = "ranked"
    FALLBACK = "fallback"


class Reason(enum.Enum):
    """Why an answer, or a part of it, is not ranked."""

    NONE = "none"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    RANKER_UNAVAILABLE = "ranker_unavailable"
    GUARD = "guard"
    REQUESTED = "requested"
