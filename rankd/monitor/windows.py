"""All windows, a bounded number of them, and which one is evicted for which.

Any caller that may report can name any served model, so names are no evidence: a newcomer never takes the place of a
window that a guard's decision, or an operator's, rests on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from rankd_client.calibration import Calibration

from rankd.errors import NotFoundError, QuotaError
from rankd.monitor.load import ModelLoad
from rankd.monitor.saving import SavingHistory
from rankd.monitor.supported import ServedHistory
from rankd.monitor.tracker_settings import guard_settings, new_adaptation, quality_settings, tenant_shares
from rankd.monitor.window import Window
from rankd.quality import Guard, QualitySettings, QualityTracker
from rankd.settings import Settings
from rankd.types import GuardMode

_EMPTY = QualitySettings(window=2, pair_window=1, cohort=2, guard_cohort=2, arrivals=2, dedupe=1)
"""Of trackers of the bases, which never take a report."""


class Windows:
    """The windows of models that are followed, and for each ranker version a base window that stands for all others.

    A base never takes a report: it has the manifest's calibration, and a guard that knows how batches go, but no tau.
    """

    def __init__(self, settings: Settings) -> None:
        """Start without any."""
        self._settings = settings
        self._most = settings.quality.max_windows
        self._quality = quality_settings(settings)
        self._windows: dict[tuple[str, str], Window] = {}
        self._bases: dict[str, Window] = {}

    # -- bases ---------------------------------------------------------------------------------------------------------

    def __contains__(self, ranker_version: str) -> bool:
        return ranker_version in self._bases

    def base(self, ranker_version: str) -> Window:
        """The window that stands for models without one of their own.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        base = self._bases.get(ranker_version)
        if base is None:
            raise NotFoundError("this ranker version was never loaded here: see `rankd status` for those that are")
        return base

    def begin(self, ranker_version: str, *, measured: bool, prior: Calibration | None) -> Window:
        """Make a new base, and delete all windows of that version."""
        self.forget(ranker_version)
        guard = Guard(guard_settings(self._settings), measured=measured)
        base = Window("", ranker_version, QualityTracker(_EMPTY), guard, measured, prior, prior)
        self._bases[ranker_version] = base
        return base

    def forget(self, ranker_version: str) -> None:
        """Delete the base and all windows of a version."""
        self._bases.pop(ranker_version, None)
        for key in [k for k in self._windows if k[1] == ranker_version]:
            del self._windows[key]

    # -- windows -------------------------------------------------------------------------------------------------------

    def own_or_base(self, model: str, ranker_version: str) -> Window:
        """The model's own window, or the base that stands for it.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        return self._windows.get((model, ranker_version)) or self.base(ranker_version)

    def follows(self, window: Window) -> bool:
        """Whether a window is still one of these: not evicted, nor begun anew."""
        return self._windows.get((window.model, window.ranker_version)) is window

    def all(self) -> Iterator[Window]:
        """Those of models with reports, then the bases."""
        yield from list(self._windows.values())
        yield from list(self._bases.values())

    def with_reports(self) -> list[Window]:
        """Those of models with reports."""
        return list(self._windows.values())

    def open_for_report(self, model: str, ranker_version: str, now: float) -> Window | None:
        """The window that a valid report belongs to, a new one where there is room; None where there is none.

        Room is made by a window that was idle for ``quality.forget_after``, else by the one with the fewest completions
        among those that nothing rests on.
        """
        window = self._windows.get((model, ranker_version))
        if window is None:
            if not self._make_room(now):
                return None
            window = self._add(model, ranker_version)
        window.used_at = max(now, window.used_at)
        return window

    def open_if_room(self, model: str, ranker_version: str, now: float) -> Window | None:
        """A model's own window, a new one where there is room without taking another's; None where there is none."""
        window = self._windows.get((model, ranker_version))
        if window is None and len(self._windows) < self._most:
            window = self._add(model, ranker_version)
            window.used_at = now
        return window

    def open_for_operator(self, model: str, ranker_version: str, now: float) -> Window:
        """The window that an operator names, made if need be: even one with evidence makes room for it.

        Raises:
            NotFoundError: the ranker version was never loaded.
            QuotaError: all others are pinned or in fallback.
        """
        window = self._windows.get((model, ranker_version))
        if window is None:
            self.base(ranker_version)
            if not self._make_room(now) and not self._evict(
                [w for w in self._windows.values() if not _pinned_or_fallback(w)]
            ):
                raise QuotaError(
                    f"quality.max_windows = {self._most} windows are pinned or in fallback: unpin one or raise it", 60.0
                )
            window = self._add(model, ranker_version)
        window.used_at = max(now, window.used_at)
        return window

    def new(self, model: str, ranker_version: str, tracker: QualityTracker) -> Window:
        """A new window, which begins with what the base knows: a first report is no reason to rank, or not to."""
        base = self.base(ranker_version)
        guard = copy.copy(base.guard)
        window = Window(
            model, ranker_version, tracker, guard, base.measured, base.prior, base.prior, reason=base.reason
        )
        window.shares, window.learned_shares = tenant_shares(self._settings), tenant_shares(self._settings)
        window.adaptation = new_adaptation(self._settings)
        # How fast a model is served, and what its requests wait, is not the ranker's: the next one takes it over.
        known = next((w.load for w in self._windows.values() if w.model == model), None)
        window.load = known or ModelLoad(
            history=ServedHistory(self._settings.order.tune_window),
            saving=SavingHistory(self._settings.quality.savings_window),
        )
        return window

    def add(self, window: Window) -> None:
        """Follow a window, as far as there is room without taking another's place."""
        if len(self._windows) < self._most:
            self._windows[window.model, window.ranker_version] = window

    def _add(self, model: str, ranker_version: str) -> Window:
        window = self._windows[model, ranker_version] = self.new(model, ranker_version, QualityTracker(self._quality))
        return window

    def _make_room(self, now: float) -> bool:
        if len(self._windows) < self._most:
            return True
        windows = self._windows.values()
        idle = [w for w in windows if now - w.used_at >= self._settings.quality.forget_after and not _pinned(w)]
        return self._evict(idle) or self._evict([w for w in windows if not self._supports_a_decision(w)])

    def _supports_a_decision(self, window: Window) -> bool:
        """Whether a decision rests, or soon may rest, on a window."""
        return _pinned_or_fallback(window) or window.tracker.completions >= self._settings.guard.min_known

    def _evict(self, candidates: list[Window]) -> bool:
        if not candidates:
            return False
        least = min(candidates, key=lambda w: (w.tracker.completions, w.used_at))
        del self._windows[least.model, least.ranker_version]
        return True


def _pinned(window: Window) -> bool:
    return window.guard.pinned_until is not None


def _pinned_or_fallback(window: Window) -> bool:
    return _pinned(window) or window.guard.mode is GuardMode.FALLBACK
