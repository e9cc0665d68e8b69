"""From reports to trust: one tracker, guard and calibration per served model and ranker version, bounded in number."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace

from rankd_client.calibration import Calibration
from rankd_client.ordering import ServedRequest

from rankd.adaptation import Adaptation, LearnedCompletion
from rankd.clock import CLOCK
from rankd.monitor.health import BatchHealth
from rankd.monitor.snapshot_key import SnapshotKey
from rankd.monitor.traffic_learning import TrafficLearning
from rankd.monitor.trust import Trust, trust_in
from rankd.monitor.window import Window
from rankd.monitor.window_jobs import WindowJobs
from rankd.monitor.windows import Windows
from rankd.quality import (
    UNKNOWN_PROMPT,
    GuardEvidence,
    GuardStanding,
    HealthEvidence,
    OutcomeReport,
    QualityTracker,
    ReportVerdict,
    Transition,
    possible,
)
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, GuardMode

_GONE_VERSIONS = 64
"""Versions no longer loaded of which late reports are still taken."""


class Monitor:
    """Takes reports, watches quality and health, and says how far a ranker is to be trusted."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Start without evidence."""
        self._settings = settings
        self._telemetry = telemetry
        self._windows = Windows(settings)
        self._health: dict[str, BatchHealth] = {}
        self._gone: dict[str, None] = {}
        self.use_key(SnapshotKey(settings.quality.snapshot_key.get_secret_value()))
        self.jobs = WindowJobs(settings, self.apply_evidence, self._use_learned)
        self.learning = TrafficLearning(settings, self.jobs)
        self._changed = asyncio.Event()

    # -- what orders need ----------------------------------------------------------------------------------------------

    def register(self, ranker_version: str, *, measured: bool, calibration: Calibration | None) -> None:
        """Make a ranker version known; reports of versions never registered are refused."""
        if ranker_version not in self._windows:
            self._windows.begin(ranker_version, measured=measured, prior=calibration)
            self._health[ranker_version] = BatchHealth()
        self._gone.pop(ranker_version, None)

    def knows(self, ranker_version: str) -> bool:
        """Whether this version was ever loaded here."""
        return ranker_version in self._windows

    def trust(self, model: str, ranker_version: str) -> Trust:
        """How far to trust a registered ranker on a model; by its base window where the model sent no reports."""
        window = self._windows.own_or_base(model, ranker_version)
        kept, basis = window.trusted, window.trust_basis
        if kept is not None and kept[0] == basis:
            return kept[1]
        trust = trust_in(
            window.guard,
            window.calibration,
            window.load,
            self._settings,
            adaptation=window.adaptation,
            learned_in_use=window.learned_in_use,
            base_calibration=window.base_calibration,
        )
        window.trusted = basis, trust
        return trust

    def adaptation(self, model: str, ranker_version: str) -> Adaptation | None:
        """What is learned of a model's traffic beside a registered ranker; None where nothing is."""
        return self._windows.own_or_base(model, ranker_version).adaptation

    # -- evidence ------------------------------------------------------------------------------------------------------

    def report(self, completion: Completion, now: float) -> ReportVerdict | None:
        """Take one validated report of a registered ranker version. ``now`` by the daemon's clock.

        Returns:
            What became of it; None where its model has no window and gets none, because all are in use.
        """
        report = OutcomeReport(
            key=self._hasher.key(completion.tenant, completion.request_id),
            score=completion.score,
            tokens=completion.tokens,
            final=completion.final,
            complete=completion.complete,
            arrival=completion.arrival,
            source=self._hasher.tenant_key(completion.reporter),
            prompt=UNKNOWN_PROMPT if (prompt := completion.uncached_prompt_tokens) is None else prompt,
        )
        if not possible(report, now):
            return ReportVerdict.INVALID
        window = self._windows.open_for_report(completion.model, completion.ranker_version, now)
        if window is None:
            return None
        # Decided at a request's first report: of one that is learned from, all later reports are taken.
        known = window.tracker.knows(report.key)
        if not known and not window.shares.admit(completion.reporter, now):
            return ReportVerdict.OVER_SHARE
        learned = self.learning.predicted(window, completion, known=known, key=report.key)
        verdict = window.tracker.add(report if math.isnan(learned) else replace(report, learned=learned), now)
        if completion.final and verdict is ReportVerdict.ACCEPTED:
            self.learning.learn(window, completion, learned, now)
            self._learn_load(window, completion, now)
        self.jobs.evaluate_guard_if_due(window, now)
        self.jobs.refit(window)
        return verdict

    def batch_done(self, ranker_version: str, *, ok: bool, seconds: float, now: float) -> None:
        """Take the outcome of one batch of a ranker."""
        self._observe_health(ranker_version, self._health[ranker_version].add(ok=ok, seconds=seconds), now)

    def still_running(self, ranker_version: str, seconds: float, now: float) -> None:
        """Note a batch that has been running for so many seconds without end."""
        self._observe_health(ranker_version, self._health[ranker_version].evidence(seconds), now)

    def _observe_health(self, ranker_version: str, evidence: HealthEvidence, now: float) -> None:
        for window in self._of_version(ranker_version):
            self._transit(window, window.guard.observe_health(evidence, now))

    def tick(self, now: float) -> None:
        """Let pins end and figures age; call about once a second."""
        for window in self.all_windows():
            self._transit(window, window.guard.tick(now))
            self.jobs.tick(window, now)

    async def refresh(self, windows: list[Window], now: float) -> None:
        """Bring the estimates of some windows up to date before they are shown, at most once a second each."""
        estimates = [self.jobs.estimate(w, now) for w in windows]
        pending = [f for f in (*estimates, *(self.jobs.evaluations.flight(w) for w in windows)) if f is not None]
        if pending:
            await asyncio.wait(pending)

    def apply_evidence(self, window: Window, evidence: GuardEvidence, now: float) -> None:
        """Let a guard decide on its quality."""
        self._transit(window, window.guard.observe_quality(evidence, now))

    def adopt(self, window: Window, standing: GuardStanding, now: float) -> None:
        """Let a guard stand where the fleet's does."""
        self._transit(window, window.guard.adopt(standing, now))

    def follow_learned(self, window: Window, in_use: bool | None, now: float) -> None:
        """Let what was learned be in use where it is in the fleet; None: it decides by its own proof."""
        if window.adaptation is not None:
            window.adaptation.follow(in_use, now)
            self.jobs.follow_adaptation(window)

    def learn_from_peer(
        self, model: str, ranker_version: str, completion: LearnedCompletion, now: float
    ) -> Window | None:
        """Learn from a completion that a peer took; the window that did, None where none does."""
        if not self.knows(ranker_version):
            return None
        window = self.open_window(model, ranker_version, now)
        return window if window is not None and self.learning.learn_from_peer(window, completion, now) else None

    def open_window(self, model: str, ranker_version: str, now: float) -> Window | None:
        """A registered ranker's window on a model, a new one if need be; None where there is no room."""
        return self._windows.open_if_room(model, ranker_version, now)

    def _learn_load(self, window: Window, completion: Completion, now: float) -> None:
        """Note how fast the model is served, and what requests waited."""
        load = window.load
        load.reported(now)
        tenant = completion.reporter if self._settings.quality.max_tenant_share < 1.0 else ""
        load.rate.add(load.lengths.counted(completion.tokens, tenant), now)
        if completion.waited is None:
            return
        load.wait.add(completion.waited, tenant)
        if completion.ran is not None and completion.expected is not None:
            prompt = completion.uncached_prompt_tokens
            served = ServedRequest(
                completion.arrival,
                completion.waited,
                completion.ran,
                completion.expected,
                completion.tokens,
                math.nan if prompt is None else prompt,
            )
            load.take(served, tenant)
            self.jobs.learn_costs(load)
            self.jobs.tune(load)

    # -- administration ------------------------------------------------------------------------------------------------

    def pin(self, model: str, ranker_version: str, mode: GuardMode, until: float, now: float) -> Window:
        """Hold a guard in a mode.

        Raises:
            NotFoundError: the ranker version was never loaded.
            QuotaError: no window is left for it.
        """
        window = self._windows.open_for_operator(model, ranker_version, now)
        self._transit(window, window.guard.pin(mode, until, now))
        return window

    def unpin(self, model: str, ranker_version: str, now: float) -> Window:
        """Let a guard decide again.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        window = self._windows.own_or_base(model, ranker_version)
        self._transit(window, window.guard.unpin(now))
        return window

    def forget_learned(self, window: Window) -> None:
        """Forget what was learned of a window's traffic: the ranker's own scores order, and learning begins anew."""
        self.learning.forget(window)
        if window.learned_in_use:
            self._use_learned(window, False)
        # Of scores of two heads none may judge the other.
        window.tracker.forget_learned()
        window.learned_calibration = None

    def begin_anew(self, ranker_version: str, *, trusted: bool | None, calibrations: dict[str, Calibration]) -> None:
        """Begin anew with a ranker that was just measured on recent completions.

        Its windows and guards start empty. What was measured is reason to rank while they fill up.

        Args:
            ranker_version: a registered one.
            trusted: whether what was measured is good enough to rank; None leaves it to the manifest.
            calibrations: from score to length, by served model, learned from what was compared; a model for which there
                is no window is left without.
        """
        before = self._windows.base(ranker_version)
        measured = before.measured if trusted is None else trusted
        base = self._windows.begin(ranker_version, measured=measured, prior=before.prior)
        base.reason = "judged"
        self._health[ranker_version] = BatchHealth()
        for model, calibration in calibrations.items():
            if (window := self._windows.open_for_report(model, ranker_version, CLOCK.now())) is not None:
                window.prior = window.base_calibration = calibration

    def unloaded(self, ranker_version: str) -> None:
        """Note that a ranker left memory; late reports of it are still taken, unless many others left since."""
        self._gone[ranker_version] = None
        if len(self._gone) > _GONE_VERSIONS:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self._health[oldest]
            self._windows.forget(oldest)

    # -- windows -------------------------------------------------------------------------------------------------------

    def all_windows(self) -> Iterator[Window]:
        """Every window: those with reports of their own, then the bases that stand for all other models."""
        return self._windows.all()

    def reported_windows(self) -> list[Window]:
        """Windows of models that sent reports."""
        return self._windows.with_reports()

    def shown_windows(self, in_service: str) -> list[Window]:
        """The windows that metrics and the status show.

        Args:
            in_service: the version of the ranker in service, whose base is shown where no model sent reports.
        """
        return self.reported_windows() or [self.base(in_service)]

    def own_or_base(self, model: str, ranker_version: str) -> Window:
        """A model's own window, or the one that stands for it."""
        return self._windows.own_or_base(model, ranker_version)

    def base(self, ranker_version: str) -> Window:
        """The window that stands for models without reports."""
        return self._windows.base(ranker_version)

    def new_window(self, model: str, ranker_version: str, tracker: QualityTracker) -> Window:
        """A window as a first report would make it, around a tracker, followed by nobody yet."""
        return self._windows.new(model, ranker_version, tracker)

    def use_key(self, key: SnapshotKey) -> None:
        """Hash requests with this key from now on; windows that know some by another one must be gone."""
        self.snapshot_key, self._hasher = key, key.hasher()

    def add_restored(self, window: Window, now: float) -> None:
        """Follow a window that a snapshot held."""
        self._windows.add(window)
        self.jobs.estimate(window, now)

    async def changed(self, timeout: float) -> bool:
        """Wait for a guard to change, or which scores order, or for ``timeout`` seconds; say which."""
        event = self._changed
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End the worker thread."""
        self.jobs.close()

    def _of_version(self, ranker_version: str) -> Iterator[Window]:
        return (w for w in self.all_windows() if w.ranker_version == ranker_version)

    def _transit(self, window: Window, transition: Transition | None) -> None:
        if transition is None:
            return
        window.transitions += 1
        window.changes.append(transition)
        window.reason = transition.reason.value
        self._telemetry.guard_changed(
            model=window.model,
            ranker_version=window.ranker_version,
            origin=transition.origin.value,
            to=transition.to.value,
            reason=transition.reason.value,
        )
        self._wake()

    def _use_learned(self, window: Window, learned: bool) -> None:
        """Let learned scores order a window, or the ranker's own, and judge these at once."""
        if not self._windows.follows(window):
            return
        window.use_learned(learned)
        now = CLOCK.now()
        self._telemetry.adaptation_switched(
            model=window.model, ranker_version=window.ranker_version, to="learned" if learned else "base"
        )
        self.jobs.evaluate_guard(window, now)
        self.jobs.estimate(window, now)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
