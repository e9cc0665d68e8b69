"""From reports to trust: one tracker, guard and calibration per served model and ranker version, bounded in number."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rankd_client.calibration import Calibration, fit_monotone

from rankd.config import Settings
from rankd.errors import NotFoundError
from rankd.quality import (
    Guard,
    GuardEvidence,
    GuardReason,
    HealthEvidence,
    QualityEstimate,
    QualitySettings,
    QualityTracker,
    Report,
    Transition,
    Verdict,
)
from rankd.telemetry import Telemetry
from rankd.types import Completion, GuardMode
from rankd.view import Health, Trust, View, guard_settings, quality_settings

__all__ = ["Monitor", "Trust", "View", "guard_settings", "quality_settings"]

_GONE_VERSIONS = 64
"""Versions no longer loaded of which late reports are still taken."""
_NOTHING = QualitySettings(window=2, cohort=2, guard_cohort=2, arrivals=2, dedupe=1)
"""For the views that stand for models without reports: theirs stay empty."""
_ESTIMATE_EVERY = 1.0
"""Seconds between two estimates of one view."""


class Monitor:
    """Takes reports, watches quality and health, and says how far a ranker is to be trusted."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Start without evidence."""
        self._settings = settings
        self._quality = quality_settings(settings)
        self._telemetry = telemetry
        self._views: OrderedDict[tuple[str, str], View] = OrderedDict()
        self._bases: dict[str, View] = {}
        self._health: dict[str, Health] = {}
        self._gone: dict[str, None] = {}
        self._salt = secrets.token_bytes(16)
        self._thread = ThreadPoolExecutor(1, "rankd-quality")
        self._changed = asyncio.Event()
        self.evicted = 0
        """Windows forgotten because there were too many."""

    # -- what orders need ----------------------------------------------------------------------------------------------

    def register(self, ranker_version: str, *, measured: bool, calibration: Calibration | None) -> None:
        """Make a ranker version known; reports of versions never registered are refused."""
        if ranker_version not in self._bases:
            self._bases[ranker_version] = self._new_base(ranker_version, measured=measured, prior=calibration)
            self._health[ranker_version] = Health()
        self._gone.pop(ranker_version, None)

    def knows(self, ranker_version: str) -> bool:
        """Whether this version was ever loaded here."""
        return ranker_version in self._bases

    def trust(self, model: str, ranker_version: str) -> Trust:
        """How far to trust a registered ranker on a model."""
        view = self._views.get((model, ranker_version)) or self._bases[ranker_version]
        guard = view.guard
        ill = guard.mode is GuardMode.FALLBACK and guard.cause in (GuardReason.ERRORS, GuardReason.LATENCY)
        return Trust(
            ranks=guard.ranks or not self._settings.guard.enabled,
            worth_waiting=not ill,
            calibration=view.calibration,
        )

    # -- evidence ------------------------------------------------------------------------------------------------------

    def report(self, completion: Completion, now: float) -> Verdict:
        """Take one validated report of a registered ranker version. ``now`` by the daemon's clock."""
        view = self._open(completion.model, completion.ranker_version)
        verdict = view.tracker.add(
            Report(
                key=self._key(completion.request_id),
                score=completion.score,
                tokens=completion.tokens,
                final=completion.final,
                complete=completion.complete,
                arrival=completion.arrival,
            ),
            now,
        )
        if view.tracker.guard_due and view.judging is None:
            self._judge(view, now)
        if view.tracker.completions - view.refit_at >= self._settings.order.recalibrate_every:
            self._refit(view)
        return verdict

    def batch_done(self, ranker_version: str, *, ok: bool, seconds: float, now: float) -> None:
        """Take the outcome of one batch of a ranker."""
        self._observe_health(ranker_version, self._health[ranker_version].add(ok=ok, seconds=seconds), now)

    def still_running(self, ranker_version: str, seconds: float, now: float) -> None:
        """Take word of a batch that has been running for so long without end."""
        self._observe_health(ranker_version, self._health[ranker_version].evidence(seconds), now)

    def _observe_health(self, ranker_version: str, evidence: HealthEvidence, now: float) -> None:
        for view in self._of_version(ranker_version):
            self._transit(view, view.guard.observe_health(evidence, now))

    def tick(self, now: float) -> None:
        """Let pins end and figures age; call about once a second."""
        for view in self.all_views():
            self._transit(view, view.guard.tick(now))
            self._refresh(view, now)

    async def refresh(self, views: list[View], now: float) -> None:
        """Bring the estimates of some views up to date before they are shown, at most once a second each."""
        pending: list[asyncio.Future[Any]] = [f for v in views if (f := self._refresh(v, now)) is not None]
        pending += [v.judging for v in views if v.judging is not None]
        if pending:
            await asyncio.wait(pending)

    def _refresh(self, view: View, now: float) -> asyncio.Future[QualityEstimate] | None:
        """Estimate anew in the worker thread where reports have come since the last time."""
        recent = view.estimate is not None and now - view.estimate.at < _ESTIMATE_EVERY
        if view.busy or recent or view.tracker.completions == view.estimated_at:
            return None
        view.busy, completions = True, view.tracker.completions
        future = asyncio.get_running_loop().run_in_executor(self._thread, view.tracker.snapshot(now).evaluate)

        def done(result: asyncio.Future[QualityEstimate]) -> None:
            view.busy = False
            if not result.cancelled() and result.exception() is None:
                view.estimate, view.estimated_at = result.result(), completions

        future.add_done_callback(done)
        return future

    def _judge(self, view: View, now: float) -> None:
        """Evaluate the guard's evidence in the worker thread, and let the guard decide on it."""
        loop = asyncio.get_running_loop()
        view.judging = loop.run_in_executor(self._thread, view.tracker.guard_snapshot(now).evaluate)

        def done(result: asyncio.Future[GuardEvidence]) -> None:
            view.judging = None
            if not result.cancelled() and result.exception() is None:
                self._transit(view, view.guard.observe_quality(result.result(), now))
                if view.tracker.guard_due:  # more came in the meantime
                    self._judge(view, now)

        view.judging.add_done_callback(done)

    def _refit(self, view: View) -> None:
        """Learn the map from score to length anew in the worker thread."""
        view.refit_at = view.tracker.completions
        known = view.tracker.lengths()
        future = asyncio.get_running_loop().run_in_executor(
            self._thread,
            lambda: fit_monotone(
                known.score,
                known.tokens,
                known.complete,
                prior=view.prior,
                prior_weight=self._settings.order.calibration_prior_weight,
            ),
        )

        def done(result: asyncio.Future[Calibration]) -> None:
            if not result.cancelled() and result.exception() is None:
                view.calibration = result.result()

        future.add_done_callback(done)

    # -- administration ------------------------------------------------------------------------------------------------

    def pin(self, model: str, ranker_version: str, mode: GuardMode, until: float, now: float) -> View:
        """Hold a guard in a mode.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        view = self._open(model, ranker_version)
        self._transit(view, view.guard.pin(mode, until, now))
        return view

    def unpin(self, model: str, ranker_version: str, now: float) -> View:
        """Let a guard decide again.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        view = self._open(model, ranker_version)
        self._transit(view, view.guard.unpin(now))
        return view

    def judged(self, ranker_version: str, *, trusted: bool | None, calibrations: dict[str, Calibration]) -> None:
        """Begin anew with a ranker that was just measured on recent completions.

        Its windows and guards start empty. What was measured is reason to rank while they fill up.

        Args:
            ranker_version: a registered one.
            trusted: whether what was measured is good enough to rank; None leaves it to the manifest.
            calibrations: from score to length, by served model, learned from what was judged.
        """
        before = self._bases[ranker_version]
        measured = before.measured if trusted is None else trusted
        for key in [k for k in self._views if k[1] == ranker_version]:
            del self._views[key]
        base = self._new_base(ranker_version, measured=measured, prior=before.prior)
        base.reason = "judged"
        self._bases[ranker_version] = base
        self._health[ranker_version] = Health()
        for model, calibration in calibrations.items():
            view = self._open(model, ranker_version)
            view.prior = view.calibration = calibration

    def unloaded(self, ranker_version: str) -> None:
        """Note that a ranker left memory; late reports of it are still taken, unless many others left since."""
        self._gone[ranker_version] = None
        if len(self._gone) > _GONE_VERSIONS:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self._bases[oldest], self._health[oldest]
            for key in [k for k in self._views if k[1] == oldest]:
                del self._views[key]

    # -- views ---------------------------------------------------------------------------------------------------------

    def all_views(self) -> Iterator[View]:
        """Every view: those with reports of their own, then the bases that stand for all other models."""
        yield from list(self._views.values())
        yield from list(self._bases.values())

    def reported_views(self) -> list[View]:
        """Views of models that sent reports."""
        return list(self._views.values())

    def base(self, ranker_version: str) -> View:
        """The view that stands for models without reports."""
        return self._bases[ranker_version]

    async def changed(self, timeout: float) -> bool:
        """Wait for a guard to change, or for ``timeout`` seconds; say which."""
        event = self._changed
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End the worker thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _of_version(self, ranker_version: str) -> Iterator[View]:
        return (v for v in self.all_views() if v.ranker_version == ranker_version)

    def _open(self, model: str, ranker_version: str) -> View:
        base = self._bases.get(ranker_version)
        if base is None:
            raise NotFoundError("this ranker version was never loaded here: see `rankd status` for those that are")
        view = self._views.get((model, ranker_version))
        if view is None:
            view = self._new_view(model, ranker_version, measured=base.measured, prior=base.prior)
            view.reason = base.reason if base.reason == "judged" else view.reason
            self._views[model, ranker_version] = view
            if len(self._views) > self._settings.quality.max_windows:
                self._views.popitem(last=False)
                self.evicted += 1
        self._views.move_to_end((model, ranker_version))
        return view

    def _new_base(self, ranker_version: str, *, measured: bool, prior: Calibration | None) -> View:
        return self._new_view("", ranker_version, measured=measured, prior=prior, quality=_NOTHING)

    def _new_view(
        self,
        model: str,
        ranker_version: str,
        *,
        measured: bool,
        prior: Calibration | None,
        quality: QualitySettings | None = None,
    ) -> View:
        guard = Guard(guard_settings(self._settings), measured=measured)
        return View(model, ranker_version, QualityTracker(quality or self._quality), guard, measured, prior, prior)

    def _transit(self, view: View, transition: Transition | None) -> None:
        if transition is None:
            return
        view.transitions += 1
        view.reason = transition.reason.value
        self._telemetry.guard_changed(
            model=view.model,
            ranker_version=view.ranker_version,
            origin=transition.origin.value,
            to=transition.to.value,
            reason=transition.reason.value,
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _key(self, request_id: str) -> int:
        digest = hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest)
