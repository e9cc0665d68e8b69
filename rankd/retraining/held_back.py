"""Which rows are trained on, and which are kept back to judge by: the latest ones that are new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankd.errors import ConfigError
from rankd.retraining.outcome import RunEndedError, RunOutcome
from rankd.training.data.dataset import Row

FUTURE = 86_400.0
"""Seconds by which a clock may be ahead: a row that ended later would keep all others from ever being new."""


@dataclass(frozen=True, slots=True)
class TimedRows:
    """Rows with a time, in the order in which they ended."""

    rows: list[Row]
    untimed: int
    """Left out, since they tell no time."""
    future: int
    """Left out, since they end more than a day from now."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where in time rows are parted, seconds since the epoch."""

    since: float | None
    """Rows after it are new; None: all are."""
    cutoff: float
    """From here on they are kept back."""
    until: float
    """The latest one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows, parted by time."""

    train: list[Row]
    held_back: list[Row]
    new: int


def in_time(rows: Sequence[Row], now: float) -> TimedRows:
    """Sort rows by when they ended.

    Raises:
        ConfigError: none tells a time.
    """
    timed = [(row.at, row) for row in rows if row.at is not None]
    if not timed:
        raise ConfigError(
            f"--data: none of {len(rows):,} rows tells when it ended, so that the latest cannot be kept back; give "
            "`ended_at` (seconds since the epoch or an ISO time), or the daemon's completion log"
        )
    kept = sorted((pair for pair in timed if pair[0] <= now + FUTURE), key=lambda pair: pair[0])
    return TimedRows([row for _, row in kept], len(rows) - len(timed), len(timed) - len(kept))


def choose_bounds(
    ended: Sequence[float], since: float | None, *, share: float, min_new: int, least: int, most: int
) -> Bounds:
    """Choose what is kept back: only of the new rows, so that no row is judged by twice, nor was trained on before.

    Args:
        ended: when each row ended, rising.
        since: rows after it are new.
        share: of the new rows to be kept back.
        min_new: new rows without which there is no run.
        least: rows to be kept back at least.
        most: and at most.

    Raises:
        RunEndedError: NOTHING_NEW or TOO_LITTLE_DATA.
    """
    new = len(ended) if since is None else sum(at > since for at in ended)
    if not new:
        raise RunEndedError(RunOutcome.NOTHING_NEW, "no completion ended since the last run")
    if new < min_new:
        raise RunEndedError(
            RunOutcome.TOO_LITTLE_DATA,
            f"{new:,} new completions, {min_new:,} are wanted (--min-new): wait, or ask for fewer",
        )
    held = min(max(round(share * new), least), most, new)
    if held >= len(ended):
        raise RunEndedError(RunOutcome.TOO_LITTLE_DATA, f"all {new:,} completions would be kept back, none trained on")
    return Bounds(since, ended[-held], ended[-1])


def part(rows: Sequence[Row], bounds: Bounds, *, only_new: bool) -> Parts:
    """Part rows by time; what ended after ``until`` belongs to the next run."""
    ended = [(row, row.at) for row in rows if row.at is not None and row.at <= bounds.until]
    since = bounds.since if only_new else None
    return Parts(
        [row for row, at in ended if at < bounds.cutoff and (since is None or at > since)],
        [row for row, at in ended if at >= bounds.cutoff],
        sum(bounds.since is None or at > bounds.since for _, at in ended),
    )
