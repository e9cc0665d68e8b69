"""Live quality of one ranker on one model: reports in, estimates with intervals out."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.arrivals import OPEN, ArrivalTable, Occupancy
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.complete_requests import CompleteRequests
from rankd.quality.guard_evidence import GuardSnapshot
from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.pair_counters import Comparer
from rankd.quality.statistics.rolling_pairs import PairSums
from rankd.quality.values import MAX_TOKENS, OutcomeReport, QualityEstimate, QualitySettings, ReportVerdict
from rankd.quality.work import WorkModel, realised_gain, work_cohorts


def possible(report: OutcomeReport, now: float) -> bool:
    """Whether a report can be true; one that cannot is worth no window."""
    return math.isfinite(report.score) and math.isfinite(now) and 0 <= report.tokens <= MAX_TOKENS


@dataclass(frozen=True, slots=True)
class EstimateSnapshot:
    """A copy of everything that an estimate needs: taken in microseconds, evaluated in any thread."""

    at: float
    settings: QualitySettings
    plain: PairSums
    cohort: Cohort
    occupancy: Occupancy
    progress_seen: bool
    duplicates: int
    stale: int
    invalid: int
    work: WorkModel
    learned: bool = False
    """Whether all of it is of learned scores."""

    def evaluate(self) -> QualityEstimate:
        """Compute the estimate: some milliseconds at the default sizes."""
        settings = self.settings
        head, tail = self.plain.head_and_tail()
        cohort = self._tau_of(self.cohort)
        gain = work_gain = self.plain.realised_gain(settings.z)
        work_tau, prompt_work_tau = cohort.tau, None
        if (works := work_cohorts(self.cohort, self.work)) is not None:
            work_tau, prompt_work_tau = self._tau_of(works.expected).tau, self._tau_of(works.prompts).tau
            work_gain = realised_gain(works.expected, settings.horizon, settings.z)
        return QualityEstimate(
            at=self.at,
            tau_b=self.plain.tau_b(settings.z),
            realised_gain=gain,
            head_tau=head,
            tail_tau=tail,
            window_size=len(self.plain.score),
            tau=cohort.tau,
            work_tau=work_tau,
            prompt_work_tau=prompt_work_tau,
            realised_work_gain=work_gain,
            cohort_size=cohort.size,
            comparable_pairs=cohort.decided_pairs,
            decided_pair_share=cohort.decided_pair_share,
            horizon_tokens=cohort.horizon_tokens,
            progress_seen=self.progress_seen,
            finished=self.occupancy.finished,
            censored=self.occupancy.censored,
            open=self.occupancy.open,
            expired=self.occupancy.expired,
            duplicates=self.duplicates,
            stale=self.stale,
            invalid=self.invalid,
            learned=self.learned,
        )

    def _tau_of(self, cohort: Cohort) -> CohortTau:
        return cohort_tau(cohort, self.settings.horizon, self.settings.z, self.settings.min_cohort)


class QualityTracker:
    """Everything that reports say about one (model, ranker version), in bounded memory.

    Not thread-safe: ``add`` and ``snapshot`` belong to one thread; a snapshot's ``evaluate`` to any.
    Successive readings of the plain window share most of their requests; see ``PairWindow``. Requests have two scores,
    the ranker's own and a learned one, where there is one; everything is taken of one of them
    (docs/adr/0021-two-scores-never-mixed.md).
    """

    def __init__(self, settings: QualitySettings | None = None) -> None:
        """Start empty."""
        self.settings = settings or QualitySettings()
        self._complete = CompleteRequests(self.settings.window, self.settings.pair_window)
        self._arrivals = ArrivalTable(self.settings.arrivals, self.settings.progress_ttl)
        # A dict keeps the order of insertion: the oldest key is the first to be forgotten.
        self._ended: dict[int, None] = {}
        self._verdicts = dict.fromkeys(ReportVerdict, 0)
        self._completions = 0
        self._progress_reports = 0
        self._guard_at = 0
        self._times: deque[float] = deque(maxlen=self.settings.guard_cohort)

    @property
    def completions(self) -> int:
        """Final reports accepted so far."""
        return self._completions

    @property
    def progress_reports(self) -> int:
        """Reports of requests that waited or ran, accepted so far."""
        return self._progress_reports

    @property
    def compared(self) -> Comparer:
        """Pair counters: what Prometheus adds up over replicas."""
        return self._complete.compared

    @property
    def learned_in_use(self) -> bool:
        """Whether learned scores are what everything is taken of."""
        return self._complete.learned_in_use

    def use_learned(self, learned: bool) -> None:
        """Take everything of learned scores from now on, or of the ranker's own, as if it had always been so.

        Requests that have no learned score are left out meanwhile. The guard's evidence is due then.
        """
        if learned is not self.learned_in_use:
            self._complete.use_learned(learned)
            self._guard_at = min(self._guard_at, self._completions - self.settings.guard_every)

    def forget_learned(self) -> None:
        """Forget all learned scores, and take everything of the ranker's own."""
        self.use_learned(False)
        self._complete.forget_learned()
        self._arrivals.forget_learned()

    def learned(self, key: int) -> float:
        """The learned score of a request, as it was first reported; NaN where there is none."""
        return self._arrivals.learned(key)

    @property
    def guard_due(self) -> bool:
        """Whether enough has ended since the last ``guard_snapshot`` for another one."""
        return self._completions - self._guard_at >= self.settings.guard_every

    def knows(self, key: int) -> bool:
        """Whether anything is known of a request yet."""
        return key in self._ended or key in self._arrivals

    @property
    def guard_stale(self) -> bool:
        """Whether anything has ended since then."""
        return self._completions > self._guard_at

    def pace(self, now: float) -> float:
        """Final reports per second, by when as many came as the guard's cohort has; falls while none come."""
        if not self._times:
            return 0.0
        return len(self._times) / max(now - self._times[0], 1.0)

    def add(self, report: OutcomeReport, now: float) -> ReportVerdict:
        """Take one report; whatever it says, nothing grows without bound and nothing is raised."""
        verdict = self._check(report, now)
        self._verdicts[verdict] += 1
        return verdict

    def _check(self, report: OutcomeReport, now: float) -> ReportVerdict:
        if not possible(report, now):
            return ReportVerdict.INVALID
        if report.key in self._ended:
            return ReportVerdict.DUPLICATE if report.final else ReportVerdict.STALE
        if not self._arrivals.update(report, now):
            # A final report may outlive its entry among those ended: the table of arrivals remembers too.
            return ReportVerdict.DUPLICATE if report.final else ReportVerdict.STALE
        if report.final:
            self._ended[report.key] = None
            if len(self._ended) > self.settings.dedupe:
                del self._ended[next(iter(self._ended))]
            self._completions += 1
            self._times.append(now)
            if report.complete:
                self._complete.add(report.score, report.learned, report.tokens)
        else:
            self._progress_reports += 1
        return ReportVerdict.ACCEPTED

    def snapshot(self, now: float, work: WorkModel | None = None) -> EstimateSnapshot:
        """Copy what an estimate needs; ``work`` says what is expected of requests, None that nothing is."""
        return EstimateSnapshot(
            at=now,
            settings=self.settings,
            plain=self._complete.plain.sums(),
            cohort=self._cohort(self.settings.cohort, now),
            occupancy=self._arrivals.occupancy(now),
            progress_seen=self._arrivals.progress_seen(now),
            duplicates=self._verdicts[ReportVerdict.DUPLICATE],
            stale=self._verdicts[ReportVerdict.STALE],
            invalid=self._verdicts[ReportVerdict.INVALID],
            work=work or WorkModel(),
            learned=self.learned_in_use,
        )

    def _cohort(self, size: int, now: float) -> Cohort:
        return self._arrivals.cohort(size, now, self.settings.settle, learned=self.learned_in_use)

    def guard_snapshot(self, now: float, work: WorkModel | None = None) -> GuardSnapshot:
        """Copy the short recent cohort that the guard decides on, as ``snapshot``; ``guard_due`` starts anew."""
        self._guard_at = self._completions
        return GuardSnapshot(
            at=now,
            settings=self.settings,
            completions=self._completions,
            cohort=self._cohort(self.settings.guard_cohort, now),
            work=work or WorkModel(),
            learned=self.learned_in_use,
        )

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def contents(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Copies of the requests it knows, in columns: what ``refill`` takes."""
        return self._complete.contents() | {
            "arrivals": self._arrivals.contents(),
            "ended": {"key": np.fromiter(self._ended, dtype=np.uint64, count=len(self._ended))},
        }

    def sampling(self) -> dict[str, Any]:
        """What the table of arrivals knows beside its requests."""
        return self._arrivals.sampling()

    def refill(self, contents: dict[str, dict[str, NDArray[Any]]], scalars: dict[str, Any], now: float) -> None:
        """Take what another tracker knew; this one must be empty. Verdicts count from here on.

        The ranker's own scores are in use then, whatever was.

        Raises:
            ValueError: it cannot be.
            KeyError: something is missing.
        """
        self._completions = int(scalars["completions"])
        self._progress_reports = int(scalars["progress_reports"])
        self._complete.refill(contents)
        self._arrivals.refill(contents["arrivals"], scalars, now)
        # The last to end, by when they did: what the pace is computed from.
        ends = contents["arrivals"]["seen"][contents["arrivals"]["state"] != OPEN]
        self._times.extend(np.minimum(np.sort(ends), now).tolist())
        keys = contents["ended"]["key"][-self.settings.dedupe :]
        self._ended = dict.fromkeys(keys.tolist())

    def lengths(self, *, learned: bool = False) -> Cohort:
        """Scores, lengths and whether each is complete, of the requests that ended: for calibration.

        With ``learned`` learned scores, of those that have one; whatever is in use.
        """
        return self._arrivals.known(learned=learned)
