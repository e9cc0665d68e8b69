"""What of windows is computed in a worker thread: estimates, evidence for guards, calibrations, patience."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from rankd_client.calibration import Calibration, fit_monotone
from rankd_client.ordering import Policy, tuned_patience

from rankd.monitor.jobs import SingleFlight
from rankd.monitor.load import ModelLoad
from rankd.monitor.window import Window
from rankd.quality import GuardEvidence, QualityEstimate
from rankd.settings import OrderSection

_ESTIMATE_EVERY = 1.0
"""Seconds between two estimates of one window."""


class JobKind(enum.Enum):
    """What the worker thread computes: for each window, and patience for each served model's load."""

    ESTIMATE = "estimate"
    GUARD = "guard"
    CALIBRATION = "calibration"
    PATIENCE = "patience"


class WindowJobs:
    """Starts the work where it is due, each kind once at a time for a window, and puts the results into windows."""

    def __init__(self, order: OrderSection, apply_evidence: Callable[[Window, GuardEvidence, float], None]) -> None:
        """Start the thread.

        Args:
            order: settings of calibration and patience.
            apply_evidence: lets a window's guard decide on evidence, where the fleet does not; with the time at which
                the evidence was copied.
        """
        self._order = order
        self._apply_evidence = apply_evidence
        self._jobs = SingleFlight(ThreadPoolExecutor(1, "rankd-quality"))

    def flight(self, kind: JobKind, subject: Window | ModelLoad) -> asyncio.Future[Any] | None:
        """The work in flight; None where there is none."""
        return self._jobs.flight((kind, subject))

    def estimate(self, window: Window, now: float) -> asyncio.Future[QualityEstimate] | None:
        """Estimate anew in the worker thread where reports have come since the last time."""
        recent = window.estimate is not None and now - window.estimate.at < _ESTIMATE_EVERY
        completions = window.tracker.completions
        if recent or completions == window.estimated_at:
            return None

        def take(estimate: QualityEstimate) -> None:
            window.estimate, window.estimated_at = estimate, completions

        return self._jobs.start((JobKind.ESTIMATE, window), lambda: window.tracker.snapshot(now).evaluate, take)

    def evaluate_guard_if_due(self, window: Window, now: float) -> None:
        """Evaluate the guard's evidence where ``guard.every`` completions have ended since the last time."""
        if window.tracker.guard_due:
            self.evaluate_guard(window, now)

    def evaluate_guard(self, window: Window, now: float) -> None:
        """Evaluate the guard's evidence in the worker thread, if there is new one; the guard, or a fleet, decides."""
        if not window.tracker.guard_stale:
            return

        def take(evidence: GuardEvidence) -> None:
            window.sums = evidence.tau.sums
            if window.fleet is None or not window.fleet.decides:
                self._apply_evidence(window, evidence, now)

        self._jobs.start(
            (JobKind.GUARD, window),
            lambda: window.tracker.guard_snapshot(now).evaluate,
            take,
            again=lambda: self.evaluate_guard_if_due(window, time.time()),
        )

    def refit(self, window: Window) -> None:
        """Learn the map from score to length anew in the worker thread where it is time to."""
        if window.tracker.completions - window.refit_at < self._order.recalibrate_every:
            return

        def prepare() -> Callable[[], Calibration]:
            window.refit_at, known = window.tracker.completions, window.tracker.lengths()
            weight = self._order.calibration_prior_weight
            return partial(
                fit_monotone, known.score, known.tokens, known.complete, prior=window.prior, prior_weight=weight
            )

        def take(calibration: Calibration) -> None:
            window.calibration = calibration

        self._jobs.start((JobKind.CALIBRATION, window), prepare, take, again=lambda: self.refit(window))

    def tune(self, load: ModelLoad) -> None:
        """Find the patience that recent traffic was best served with, in the worker thread, where it is time to."""
        if not load.tune_due(self._order):
            return

        def prepare() -> Callable[[], float | None]:
            load.tuned_at = load.taken
            return partial(
                tuned_patience, load.history.served(), Policy(self._order.policy), budget=self._order.tail_budget
            )

        self._jobs.start((JobKind.PATIENCE, load), prepare, load.tuned)

    def close(self) -> None:
        """End the thread."""
        self._jobs.close()
