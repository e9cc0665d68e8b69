"""A tracker and a guard as columns and scalars, and back: what a snapshot holds. Pure; files are elsewhere.

Nothing derived is kept: pair sums are computed anew, so that a file can be incomplete or wrong, but not at odds with
itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.guard import Guard
from rankd.quality.guard_state import GuardReason, GuardStanding
from rankd.quality.prompt_judgement import PromptStanding
from rankd.quality.tracker import QualityTracker
from rankd.quality.values import MAX_TOKENS, UNKNOWN_PROMPT, QualitySettings
from rankd.types import GuardMode

Columns = dict[str, NDArray[Any]]
Scalars = dict[str, Any]
MOST_COMPLETIONS = 2**53
"""Beyond it floats, and so JSON, no longer tell whole numbers apart."""
LONGEST_PIN = 7 * 86400.0
"""Seconds that a guard may be pinned for."""
_MOST_LEVELS = 63
_LATEST = 253402300799.0
_TIMES = ("arrivals/arrival", "arrivals/seen")
"""Columns of times; ``arrivals/sojourn`` is a duration."""

_SINCE_PROMPTS = "arrivals/prompt"
_LEARNED = "arrivals/learned"
"""NaN where there is no learned score."""

_GROUPS: dict[str, dict[str, Any]] = {
    "plain": {"score": np.float64, "tokens": np.int64},
    "compared": {"score": np.float64, "tokens": np.int64},
    "learned_plain": {"score": np.float64, "tokens": np.int64},
    "learned_compared": {"score": np.float64, "tokens": np.int64},
    "arrivals": {
        "key": np.uint64,
        "score": np.float64,
        "learned": np.float64,
        "tokens": np.int64,
        "arrival": np.float64,
        "seen": np.float64,
        "sojourn": np.float64,
        "state": np.int8,
        "source": np.uint64,
        "prompt": np.int64,
    },
    "ended": {"key": np.uint64},
}


@dataclass(frozen=True, slots=True)
class Saved:
    """One tracker. Columns are named ``group/column``; scalars are JSON."""

    columns: Columns
    scalars: Scalars


def save_tracker(tracker: QualityTracker, ahead: float = 0.0) -> Saved:
    """Copy what a tracker knows of requests: well under a millisecond at the default sizes.

    Args:
        tracker: what is copied.
        ahead: seconds that the clock of saved times is ahead of the tracker's.
    """
    groups = tracker.contents()
    columns = {f"{group}/{name}": column for group, part in groups.items() for name, column in part.items()}
    for name in _TIMES:
        columns[name] = columns[name] + ahead
    sampling = tracker.sampling()
    sampling["thinned"] = [(until + ahead, level) for until, level in sampling["thinned"]]
    sampling["progress_at"] = None if sampling["progress_at"] is None else sampling["progress_at"] + ahead
    counts = {"completions": tracker.completions, "progress_reports": tracker.progress_reports}
    return Saved(columns, counts | sampling)


def restore_tracker(
    settings: QualitySettings, saved: Saved, now: float, ahead: float = 0.0, *, learned: bool = True
) -> QualityTracker:
    """A tracker that knows what was saved, as far as it fits the settings; some milliseconds.

    Args:
        settings: of the tracker.
        saved: what ``save_tracker`` gave; anybody may have written to it since.
        now: by the tracker's clock. What is said to be of later is of now.
        ahead: seconds that the clock of saved times is ahead of the tracker's.
        learned: whether learned scores are those of what orders from now on; False leaves them out.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    columns = dict(saved.columns)
    if _SINCE_PROMPTS not in columns:  # written before prompts were counted
        columns[_SINCE_PROMPTS] = np.full(len(columns["arrivals/key"]), UNKNOWN_PROMPT, dtype=np.int64)
    if not learned or _LEARNED not in columns:  # or written before anything was learned
        columns |= _nothing_learned(len(columns["arrivals/key"]))
    groups = {group: _group(columns, group, kinds) for group, kinds in _GROUPS.items()}
    for group in ("plain", "compared", "learned_plain", "learned_compared", "arrivals"):
        tokens = groups[group]["tokens"]
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) <= MAX_TOKENS:
            raise ValueError(f"{group}: tokens out of range")
    arrivals = groups["arrivals"]
    prompt = arrivals["prompt"]
    if len(prompt) and not UNKNOWN_PROMPT <= int(prompt.min()) <= int(prompt.max()) <= MAX_TOKENS:
        raise ValueError("arrivals: prompt out of range")
    for name in ("arrival", "seen", "sojourn"):
        if len(arrivals[name]) and float(arrivals[name].min()) < 0:
            raise ValueError(f"arrivals/{name}: below 0")
    arrivals |= {name: np.minimum(arrivals[name] - ahead, now) for name in ("arrival", "seen")}
    # Nobody stays for longer than since it came; one that did would hold back all of the cohort.
    arrivals["sojourn"] = np.minimum(arrivals["sojourn"], np.maximum(0.0, now - arrivals["arrival"]))
    tracker = QualityTracker(settings)
    tracker.refill(groups, _scalars(saved.scalars, now, ahead), now)
    return tracker


def _nothing_learned(arrivals: int) -> Columns:
    rows = ("learned_plain", "learned_compared")
    return (
        {_LEARNED: np.full(arrivals, np.nan)}
        | {f"{group}/score": np.zeros(0) for group in rows}
        | {f"{group}/tokens": np.zeros(0, dtype=np.int64) for group in rows}
    )


def _scalars(saved: Scalars, now: float, ahead: float) -> Scalars:
    """What a tracker knows beside its columns, checked, by its own clock."""
    progress_at = saved["progress_at"]
    if len(saved["thinned"]) > _MOST_LEVELS:
        raise ValueError("thinned: too long")
    return {
        "completions": whole(saved["completions"], MOST_COMPLETIONS),
        # A snapshot from before they were counted tells none.
        "progress_reports": whole(saved.get("progress_reports", 0), MOST_COMPLETIONS),
        "level": whole(saved["level"], _MOST_LEVELS),
        "thinned": [(min(number(u) - ahead, now), whole(level, _MOST_LEVELS)) for u, level in saved["thinned"]],
        "progress_at": None if progress_at is None else moment(progress_at) - ahead,
    }


def _group(columns: Mapping[str, NDArray[Any]], group: str, kinds: Mapping[str, Any]) -> Columns:
    """The columns of a group, of one length, without infinity, and without NaN but for learned scores."""
    found = {name: columns[f"{group}/{name}"] for name in kinds}
    sizes = {column.shape for column in found.values()}
    if len(sizes) != 1 or len(sizes.pop()) != 1:
        raise ValueError(f"{group}: columns differ in length")
    for name, kind in kinds.items():
        if found[name].dtype != kind:
            raise ValueError(f"{group}/{name}: is {found[name].dtype}")
        if not _can_be(f"{group}/{name}", found[name]):
            raise ValueError(f"{group}/{name}: not finite")
    return found


def can_be(columns: Mapping[str, NDArray[Any]]) -> bool:
    """Whether columns hold no infinity, and no NaN where none may be."""
    return all(_can_be(name, column) for name, column in columns.items())


def _can_be(name: str, column: NDArray[Any]) -> bool:
    if column.dtype != np.float64:
        return True
    return bool((np.isfinite(column) | (np.isnan(column) if name == _LEARNED else False)).all())


def save_guard(guard: Guard, ahead: float = 0.0) -> Scalars:
    """A guard's standing and pin; the clock of saved times is ``ahead`` seconds ahead of the guard's."""
    standing = guard.standing
    pin = guard.pinned
    return {
        "mode": standing.mode.value,
        "since": _finite(standing.since + ahead),
        "cause": standing.cause.value if standing.cause else None,
        "stay": standing.stay,
        "recovered_at": _finite(standing.recovered_at + ahead),
        "relapses": standing.relapses,
        "tau_low": standing.tau_low,
        "prompts": asdict(standing.prompts),
        "pin": [pin[0].value, pin[1] + ahead] if pin else None,
    }


def restore_guard(guard: Guard, saved: Scalars, now: float, ahead: float = 0.0) -> bool:
    """Let a guard that has just begun go on where one was saved.

    Args:
        guard: one without a past.
        saved: what ``save_guard`` gave; anybody may have written to it since.
        now: by the guard's clock.
        ahead: seconds that the clock of saved times is ahead of the guard's.

    Returns:
        Whether it does. A fallback because scoring failed or was slow is not restored: that was another process.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    cause = saved["cause"]
    standing = GuardStanding(
        mode=GuardMode(saved["mode"]),
        since=_infinite(saved["since"]) - ahead,
        cause=GuardReason(cause) if cause is not None else None,
        stay=number(saved["stay"]),
        recovered_at=_infinite(saved["recovered_at"]) - ahead,
        relapses=min(whole(saved["relapses"], MOST_COMPLETIONS), 60),
        tau_low=number(saved["tau_low"]) if saved["tau_low"] is not None else None,
        prompts=_prompts(saved.get("prompts", {})),
    )
    standing.check()
    guard.adopt(standing, now)
    if saved["pin"] is not None:
        mode, until = saved["pin"]
        if moment(until) - ahead > now + LONGEST_PIN:
            raise ValueError("pin: lasts for longer than any can")
        guard.pin(GuardMode(mode), until - ahead, now)
    return not standing.scoring_failed


def _prompts(saved: Scalars) -> PromptStanding:
    """What was found of prompts alone; nothing, where a file was written before it was looked for."""
    low = saved.get("tau_low")
    proven, better = (saved.get(name, False) is True for name in ("proven", "better"))
    return PromptStanding(proven, better, None if low is None else number(low))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: Any) -> float:
    return -math.inf if value is None else moment(value)


def number(value: Any) -> float:
    """A finite number, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is expected")
    return float(value)


def moment(value: Any) -> float:
    """Seconds since the epoch, up to the year 9999, or ValueError."""
    if not 0 <= number(value) <= _LATEST:
        raise ValueError("a time is expected")
    return float(value)


def whole(value: Any, most: int) -> int:
    """A whole number from 0 to ``most``, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError("a whole number is expected")
    return value
