"""How a run can end, and the exit status of each."""

from __future__ import annotations

import enum
import errno
import re

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_SAYS_NO_SPACE = re.compile(r"os error (27|28|122)\b|No space left on device|File too large|Disk quota exceeded")


class RunOutcome(enum.Enum):
    """What became of a run."""

    PROMOTED = "promoted"
    """The new ranker is in service on all replicas."""
    KEPT = "kept"
    """It is better and lies in the registry; promotion was not asked for."""
    NOTHING_NEW = "nothing_new"
    """No completion ended since the last run."""
    WOULD_RUN = "would_run"
    """A dry run found something to do."""
    UNREACHABLE = "unreachable"
    """A daemon does not answer; the next run goes on from there."""
    BAD_INPUT = "bad_input"
    """A flag, a setting or the rows are at fault."""
    NO_BETTER = "no_better"
    """The new ranker was judged and is not put into service."""
    TOO_LITTLE_DATA = "too_little_data"
    """Too few completions to train on or to judge by."""
    LOCKED = "locked"
    """Another run is under way."""
    FAILED = "failed"
    """Something broke, as on a full disk; the next run goes on from there."""
    INTERRUPTED = "interrupted"
    """By a user or a supervisor; the next run goes on from there."""

    @property
    def exit_status(self) -> int:
        """Of the process."""
        return _STATUS[self]

    @property
    def is_final(self) -> bool:
        """Whether the run is over, and not to be gone on with by the next one."""
        return self in _FINAL

    @property
    def is_well(self) -> bool:
        """Whether everything worked as it should, whatever became of the ranker."""
        return self in _FINAL or self is RunOutcome.LOCKED


_STATUS = {
    RunOutcome.PROMOTED: 0,
    RunOutcome.KEPT: 0,
    RunOutcome.NOTHING_NEW: 0,
    RunOutcome.WOULD_RUN: 0,
    RunOutcome.UNREACHABLE: 1,
    RunOutcome.BAD_INPUT: 2,
    RunOutcome.NO_BETTER: 3,
    RunOutcome.TOO_LITTLE_DATA: 4,
    RunOutcome.LOCKED: 5,
    RunOutcome.FAILED: 6,
    RunOutcome.INTERRUPTED: 130,
}
"""0 to 3 are those of the other verbs that administer a daemon."""
_FINAL = {
    RunOutcome.PROMOTED,
    RunOutcome.KEPT,
    RunOutcome.NOTHING_NEW,
    RunOutcome.NO_BETTER,
    RunOutcome.TOO_LITTLE_DATA,
}


class RunEndedError(Exception):
    """A run ends here; ``reason`` is for people and holds no prompt."""

    def __init__(self, outcome: RunOutcome, reason: str) -> None:
        """Keep both."""
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def is_disk_full(error: BaseException) -> bool:
    """Whether there was no space left, at the bottom of it: errors are told on with another message."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _NO_SPACE:
            return True
        if _SAYS_NO_SPACE.search(str(seen)):  # libraries in Rust and C++ have errors of their own
            return True
        seen = seen.__cause__ or seen.__context__
    return False
