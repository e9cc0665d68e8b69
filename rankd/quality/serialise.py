"""A tracker and a guard as columns and scalars, and back: what a snapshot holds. Pure; files are elsewhere.

Nothing derived is kept: pair sums are computed anew, so that a file can be incomplete or wrong, but not at odds with
itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.guard import Guard
from rankd.quality.guard_state import GuardReason, GuardStanding
from rankd.quality.tracker import QualityTracker
from rankd.quality.values import MAX_TOKENS, QualitySettings
from rankd.types import GuardMode

Columns = dict[str, NDArray[Any]]
Scalars = dict[str, Any]

_GROUPS: dict[str, dict[str, Any]] = {
    "plain": {"score": np.float64, "tokens": np.int64},
    "compared": {"score": np.float64, "tokens": np.int64},
    "arrivals": {
        "key": np.uint64,
        "score": np.float64,
        "tokens": np.int64,
        "arrival": np.float64,
        "seen": np.float64,
        "sojourn": np.float64,
        "state": np.int8,
        "source": np.uint64,
    },
    "ended": {"key": np.uint64},
}


@dataclass(frozen=True, slots=True)
class Saved:
    """One tracker. Columns are named ``group/column``; scalars are JSON."""

    columns: Columns
    scalars: Scalars


def save_tracker(tracker: QualityTracker) -> Saved:
    """Copy what a tracker knows of requests: well under a millisecond at the default sizes."""
    groups = tracker.contents()
    columns = {f"{group}/{name}": column for group, part in groups.items() for name, column in part.items()}
    return Saved(columns, {"completions": tracker.completions} | tracker.sampling())


def restore_tracker(settings: QualitySettings, saved: Saved, now: float) -> QualityTracker:
    """A tracker that knows what was saved, as far as it fits the settings; some milliseconds.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    groups = {group: _group(saved.columns, group, kinds) for group, kinds in _GROUPS.items()}
    for group in ("plain", "compared", "arrivals"):
        tokens = groups[group]["tokens"]
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) <= MAX_TOKENS:
            raise ValueError(f"{group}: tokens out of range")
    tracker = QualityTracker(settings)
    tracker.refill(groups, saved.scalars, now)
    return tracker


def _group(columns: Mapping[str, NDArray[Any]], group: str, kinds: Mapping[str, Any]) -> Columns:
    """The columns of a group, of one length, without NaN or infinity."""
    found = {name: columns[f"{group}/{name}"] for name in kinds}
    sizes = {column.shape for column in found.values()}
    if len(sizes) != 1 or len(sizes.pop()) != 1:
        raise ValueError(f"{group}: columns differ in length")
    for name, kind in kinds.items():
        if found[name].dtype != kind:
            raise ValueError(f"{group}/{name}: is {found[name].dtype}")
        if found[name].dtype == np.float64 and not np.isfinite(found[name]).all():
            raise ValueError(f"{group}/{name}: not finite")
    return found


def save_guard(guard: Guard) -> Scalars:
    """A guard's standing and pin."""
    standing = guard.standing
    pin = guard.pinned
    return {
        "mode": standing.mode.value,
        "since": _finite(standing.since),
        "cause": standing.cause.value if standing.cause else None,
        "stay": standing.stay,
        "recovered_at": _finite(standing.recovered_at),
        "relapses": standing.relapses,
        "tau_low": standing.tau_low,
        "pin": [pin[0].value, pin[1]] if pin else None,
    }


def restore_guard(guard: Guard, saved: Scalars, now: float) -> bool:
    """Let a guard that has just begun go on where one was saved.

    Returns:
        Whether it does. A fallback because scoring failed or was slow is not restored: that was another process.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    cause = saved["cause"]
    standing = GuardStanding(
        mode=GuardMode(saved["mode"]),
        since=_infinite(saved["since"]),
        cause=GuardReason(cause) if cause is not None else None,
        stay=number(saved["stay"]),
        recovered_at=_infinite(saved["recovered_at"]),
        relapses=min(int(number(saved["relapses"])), 60),
        tau_low=number(saved["tau_low"]) if saved["tau_low"] is not None else None,
    )
    guard.adopt(standing, now)
    if saved["pin"] is not None:
        mode, until = saved["pin"]
        guard.pin(GuardMode(mode), number(until), now)
    return not standing.scoring_failed


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: Any) -> float:
    return -math.inf if value is None else number(value)


def number(value: Any) -> float:
    """A finite number, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is expected")
    return float(value)
