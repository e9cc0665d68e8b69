"""What of windows is computed in a worker thread: estimates, evidence for guards, calibrations, patience, learning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rankd_client.ordering import (
    Objective,
    ObjectiveOutcome,
    Policy,
    ServedRequests,
    ServiceCosts,
    parse_target,
    tune,
)

from rankd.adaptation import Update
from rankd.clock import CLOCK
from rankd.monitor.calibrations import WindowCalibrations, fit_window
from rankd.monitor.jobs import SingleFlight
from rankd.monitor.load import ModelLoad
from rankd.monitor.supported import supported_outcomes
from rankd.monitor.supported_costs import CostEvidence, supported_costs
from rankd.monitor.trust import work_model
from rankd.monitor.window import Window
from rankd.quality import GuardEvidence, QualityEstimate, WorkModel
from rankd.settings import OrderSection, Settings
from rankd.types import FloatArray

_ESTIMATE_EVERY = 1.0
"""Seconds between two estimates of one window."""


class WindowJobs:
    """Starts the work where it is due, each kind once at a time for a window, and puts the results into windows.

    Estimates, evaluations and refits are of a window each, tunings of a served model's load.
    """

    def __init__(
        self,
        settings: Settings,
        apply_evidence: Callable[[Window, GuardEvidence, float], None],
        switch: Callable[[Window, bool], None] = Window.use_learned,
    ) -> None:
        """Start the thread.

        Args:
            settings: the daemon's; those of calibration and patience, and whether one tenant's part is bounded.
            apply_evidence: lets a window's guard decide on evidence, where the fleet does not; with the time at which
                the evidence was copied.
            switch: lets learned scores order a window, or the ranker's own.
        """
        self._settings = settings
        self._order = settings.order
        self._bounded = settings.quality.max_tenant_share < 1.0
        self._apply_evidence = apply_evidence
        self._switch = switch
        self.held: Callable[[str], bool] = lambda _: False
        """Whether learned scores may not come into use for a served model now: something is measured."""
        thread = ThreadPoolExecutor(1, "rankd-quality")
        self.estimates: SingleFlight[Window] = SingleFlight(thread)
        self.evaluations: SingleFlight[Window] = SingleFlight(
            thread, lambda window: self.evaluate_guard_if_due(window, CLOCK.now())
        )
        self.refits: SingleFlight[Window] = SingleFlight(thread, self.refit)
        self.adaptations: SingleFlight[Window] = SingleFlight(thread, self.adapt)
        self.switches: SingleFlight[Window] = SingleFlight(thread)
        self.tunings: SingleFlight[ModelLoad] = SingleFlight(thread)
        self.fits: SingleFlight[ModelLoad] = SingleFlight(thread)
        self.savings: SingleFlight[ModelLoad] = SingleFlight(thread)

    def tick(self, window: Window, now: float) -> None:
        """Do what is done about once a second for a window."""
        self.adapt(window)
        self.follow_adaptation(window)
        self.estimate(window, now)
        self.estimate_savings(window.load, now)

    def estimate(self, window: Window, now: float) -> asyncio.Future[QualityEstimate] | None:
        """Estimate anew in the worker thread where reports have come since the last time."""
        known, completions = window.estimate, window.tracker.completions
        recent = known is not None and now - known.at < _ESTIMATE_EVERY
        switched = known is not None and known.learned is not window.learned_in_use
        if not switched and (recent or completions == window.estimated_at):
            return None

        def take(estimate: QualityEstimate) -> None:
            if estimate.learned is window.learned_in_use:  # else learned scores came into use meanwhile, or left it
                window.estimate, window.estimated_at = estimate, completions

        return self.estimates.start(window, lambda: window.tracker.snapshot(now, self._work(window)).evaluate, take)

    def evaluate_guard_if_due(self, window: Window, now: float) -> None:
        """Evaluate the guard's evidence where ``guard.every`` completions have ended since the last time."""
        if window.tracker.guard_due:
            self.evaluate_guard(window, now)

    def evaluate_guard(self, window: Window, now: float) -> None:
        """Evaluate the guard's evidence in the worker thread, if there is new one.

        What decides on it is ``Monitor.apply_evidence``, or in a fleet ``FleetFollower.round_done``.
        """
        if not window.tracker.guard_stale or self.evaluations.ask_again(window):
            return

        def take(evidence: GuardEvidence) -> None:
            if evidence.learned is not window.learned_in_use:
                return  # of scores that order no more; it was asked for anew at the switch
            window.evidence = evidence
            if window.fleet is None or not window.fleet.decides:
                self._apply_evidence(window, evidence, now)

        self.evaluations.start(window, lambda: window.tracker.guard_snapshot(now, self._work(window)).evaluate, take)

    def _work(self, window: Window) -> WorkModel:
        return work_model(window.calibration, window.load, self._settings)

    def refit(self, window: Window) -> None:
        """Learn the maps from scores to length anew in the worker thread where it is time to."""
        due = window.tracker.completions - window.refit_at >= self._order.recalibrate_every
        if not due or self.refits.ask_again(window):
            return

        def take(found: WindowCalibrations) -> None:
            window.base_calibration = found.base
            window.learned_calibration = found.learned or window.learned_calibration

        def prepare() -> Callable[[], WindowCalibrations]:
            window.refit_at = window.tracker.completions
            return self._fit(window)

        self.refits.start(window, prepare, take)

    def _fit(self, window: Window) -> Callable[[], WindowCalibrations]:
        return fit_window(window, self._order.calibration_prior_weight, bounded=self._bounded)

    def adapt(self, window: Window) -> None:
        """Learn the window's traffic in the worker thread where it is time to."""
        adaptation = window.adaptation
        if adaptation is None or self.adaptations.ask_again(window):
            return
        if (work := adaptation.job(CLOCK.now())) is None:
            return

        def take(update: Update) -> None:
            adaptation.take(update, CLOCK.now())
            self.follow_adaptation(window)

        self.adaptations.start(window, lambda: work, take)

    def follow_adaptation(self, window: Window) -> None:
        """Let learned scores come into use, or leave it, where that was found to be better.

        They come into use once there is a map of their own to lengths, and not while something is measured. They leave
        it at once, whatever is.
        """
        if not _wants_other_scores(window) or self.switches.flight(window) is not None:
            return
        if window.learned_in_use:
            self._switch(window, False)
        elif not self.held(window.model):

            def take(found: WindowCalibrations) -> None:
                window.base_calibration, window.learned_calibration = found.base, found.learned
                if _wants_other_scores(window) and not self.held(window.model):
                    self._switch(window, True)

            self.switches.start(window, lambda: self._fit(window), take)

    def tune(self, load: ModelLoad) -> None:
        """Find what recent traffic was best served with for each objective, in the worker thread, where it is time."""
        if not load.tune_due(self._order):
            return

        def prepare() -> Callable[[], dict[Objective, ObjectiveOutcome]]:
            load.tuned_at = load.taken
            return partial(supported_outcomes, load.history.views(), tuning(self._order, load), dict(load.outcomes))

        self.tunings.start(load, prepare, lambda found: load.tuned(found, self._order.patience_backlog_share))

    def estimate_savings(self, load: ModelLoad, now: float) -> None:
        """Find what ranking saved recent completions, in the worker thread, where it is time to."""
        if load.saving.due(now):
            bounded = load.bounds_waits(self._order)
            self.savings.start(load, lambda: load.saving.job(load.costs, now, bounded=bounded), load.saving.take)

    def learn_costs(self, load: ModelLoad) -> None:
        """Learn what requests cost, in the worker thread, where it is time to."""
        if not load.fit_due(self._order):
            return

        def prepare() -> Callable[[], tuple[ServiceCosts | None, FloatArray]]:
            load.fitted_at = load.taken
            rows, before = load.history.copy(), load.costs

            def learn() -> tuple[ServiceCosts | None, FloatArray]:
                evidence = CostEvidence.of(rows)
                return supported_costs(evidence, before), evidence.prompts()

            return learn

        self.fits.start(load, prepare, lambda found: load.fitted(*found))

    def close(self) -> None:
        """End the thread."""
        for jobs in (self.estimates, self.evaluations, self.refits, self.tunings, self.fits, self.savings):
            jobs.close()
        self.adaptations.close()
        self.switches.close()


def _wants_other_scores(window: Window) -> bool:
    """Whether what was found to be better is not what orders."""
    return window.adaptation is not None and window.adaptation.in_use is not window.learned_in_use


def tuning(order: OrderSection, load: ModelLoad) -> Callable[[ServedRequests], dict[Objective, ObjectiveOutcome]]:
    """What each objective makes of some completions, as the settings and what was learned have it."""
    return partial(
        tune,
        policy=Policy(order.policy),
        costs=load.costs,
        tail_budget=order.tail_budget,
        target=parse_target(order.slo) if order.slo else None,
        prompt_cost=order.prompt_cost if order.prompt_cost >= 0 else load.prompt_cost,
    )
