"""The use case: one report of how a request ended, or how far it is, taken by all that learn from it."""

from __future__ import annotations

import enum

from rankd.clock import CLOCK
from rankd.completion_log import CompletionLog
from rankd.monitor.monitor import Monitor
from rankd.pilot.live import LivePilots
from rankd.quality import ReportVerdict
from rankd.registry.shadow import ShadowRankers
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, FinishReason


class Outcome(enum.Enum):
    """What became of a report; the value is the label of the metric."""

    ACCEPTED = "accepted"
    NOT_FOLLOWED = "not_followed"
    """Taken, but its model has no window and gets none, because all are in use."""
    OVER_SHARE = "over_share"
    """Taken, but not learned from: its tenant fills its share already."""
    DUPLICATE = "duplicate"
    """A final report of this request was taken before."""
    OUT_OF_ORDER = "out_of_order"
    """Refused: older than what is known of the request."""
    IMPOSSIBLE_COUNT = "impossible_count"
    """Refused: cannot be true."""


_OUTCOMES = {
    None: Outcome.NOT_FOLLOWED,
    ReportVerdict.ACCEPTED: Outcome.ACCEPTED,
    ReportVerdict.OVER_SHARE: Outcome.OVER_SHARE,
    ReportVerdict.DUPLICATE: Outcome.DUPLICATE,
    ReportVerdict.STALE: Outcome.OUT_OF_ORDER,
    ReportVerdict.INVALID: Outcome.IMPOSSIBLE_COUNT,
}
_TAKEN = (Outcome.ACCEPTED, Outcome.NOT_FOLLOWED, Outcome.OVER_SHARE)


class Completions:
    """Takes validated reports."""

    def __init__(
        self,
        monitor: Monitor,
        shadows: ShadowRankers,
        pilots: LivePilots,
        log: CompletionLog | None,
        telemetry: Telemetry,
    ) -> None:
        """Take what learns from reports, and the log where there is one."""
        self._monitor = monitor
        self._shadows = shadows
        self._pilots = pilots
        self._log = log
        self._telemetry = telemetry

    def knows(self, ranker_version: str) -> bool:
        """Whether a ranker version was ever loaded here; reports of others are not to be taken."""
        return self._monitor.knows(ranker_version)

    def take(self, completion: Completion, finish: FinishReason, now: float) -> Outcome:
        """Take one report, all of it or nothing: there is no ``await`` in here.

        Args:
            completion: the report; validated, of a ranker version that is known.
            finish: how the request ended, or that it has not.
            now: by the daemon's clock, seconds.
        """
        outcome = _OUTCOMES[self._monitor.report(completion, now)]
        self._telemetry.completion(outcome.value, final=completion.final)
        if outcome not in _TAKEN:
            return outcome
        if outcome is not Outcome.OVER_SHARE:
            self._shadows.completed(completion, CLOCK.to_wall(now))
        self._pilots.completed(completion, finish)
        if self._log is not None:
            self._log.completed(completion, finish, now)
        return outcome
