"""All views, a bounded number of them, and who makes room for whom.

Any caller that may report can name any served model, so names are no evidence: a newcomer never takes the place of a
window that a guard's decision, or an operator's, rests on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from rankd_client.calibration import Calibration
from rankd_client.ordering import CompletionHistory

from rankd.errors import NotFoundError, QuotaError
from rankd.monitor.load import ModelLoad
from rankd.monitor.tracker_settings import guard_settings, quality_settings, tenant_shares
from rankd.monitor.window import Window
from rankd.quality import Guard, QualitySettings, QualityTracker
from rankd.settings.load import Settings
from rankd.types import GuardMode

_NOTHING = QualitySettings(window=2, pair_window=1, cohort=2, guard_cohort=2, arrivals=2, dedupe=1)
"""For the views that stand for models without reports: theirs stay empty."""


class Windows:
    """The views of models that are followed, and for each ranker version a base that stands for all others."""

    def __init__(self, settings: Settings) -> None:
        """Start without any."""
        self._settings = settings
        self._most = settings.quality.max_windows
        self._quality = quality_settings(settings)
        self._views: dict[tuple[str, str], Window] = {}
        self._bases: dict[str, Window] = {}

    # -- bases ---------------------------------------------------------------------------------------------------------

    def __contains__(self, ranker_version: str) -> bool:
        return ranker_version in self._bases

    def base(self, ranker_version: str) -> Window:
        """The view that stands for models without one of their own.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        base = self._bases.get(ranker_version)
        if base is None:
            raise NotFoundError("this ranker version was never loaded here: see `rankd status` for those that are")
        return base

    def begin(self, ranker_version: str, *, measured: bool, prior: Calibration | None) -> Window:
        """Make a new base, and forget all views of that version."""
        self.forget(ranker_version)
        guard = Guard(guard_settings(self._settings), measured=measured)
        base = Window("", ranker_version, QualityTracker(_NOTHING), guard, measured, prior, prior)
        self._bases[ranker_version] = base
        return base

    def forget(self, ranker_version: str) -> None:
        """Forget a version altogether."""
        self._bases.pop(ranker_version, None)
        for key in [k for k in self._views if k[1] == ranker_version]:
            del self._views[key]

    # -- views ---------------------------------------------------------------------------------------------------------

    def get(self, model: str, ranker_version: str) -> Window | None:
        """The model's own view; None where it has none."""
        return self._views.get((model, ranker_version))

    def standing_for(self, model: str, ranker_version: str) -> Window:
        """The model's own view, or the base that stands for it.

        Raises:
            NotFoundError: the ranker version was never loaded.
        """
        return self._views.get((model, ranker_version)) or self.base(ranker_version)

    def all(self) -> Iterator[Window]:
        """Those of models with reports, then the bases."""
        yield from list(self._views.values())
        yield from list(self._bases.values())

    def own(self) -> list[Window]:
        """Those of models with reports."""
        return list(self._views.values())

    def reported(self, model: str, ranker_version: str, now: float) -> Window | None:
        """The view that a valid report belongs to, a new one where there is room; None where there is none.

        Room is made by a view that was idle for ``quality.forget_after``, else by the one with the fewest completions
        among those that nothing rests on.
        """
        view = self._views.get((model, ranker_version))
        if view is None:
            if not self._room(now):
                return None
            view = self._add(model, ranker_version)
        view.used_at = max(now, view.used_at)
        return view

    def opened(self, model: str, ranker_version: str, now: float) -> Window | None:
        """A model's own view, a new one where there is room without taking another's; None where there is none."""
        view = self._views.get((model, ranker_version))
        if view is None and len(self._views) < self._most:
            view = self._add(model, ranker_version)
            view.used_at = now
        return view

    def wanted(self, model: str, ranker_version: str, now: float) -> Window:
        """The view that an operator names, made if need be: even one with evidence makes room for it.

        Raises:
            NotFoundError: the ranker version was never loaded.
            QuotaError: all others are pinned or in fallback.
        """
        view = self._views.get((model, ranker_version))
        if view is None:
            self.base(ranker_version)
            if not self._room(now) and not self._evict([v for v in self._views.values() if not _stopped(v)]):
                raise QuotaError(
                    f"quality.max_windows = {self._most} windows are pinned or in fallback: unpin one or raise it", 60.0
                )
            view = self._add(model, ranker_version)
        view.used_at = max(now, view.used_at)
        return view

    def blank(self, model: str, ranker_version: str, tracker: QualityTracker) -> Window:
        """A new view, which begins with what the base knows: a first report is no reason to rank, or not to."""
        base = self.base(ranker_version)
        guard = copy.copy(base.guard)
        view = Window(model, ranker_version, tracker, guard, base.measured, base.prior, base.prior, reason=base.reason)
        view.shares = tenant_shares(self._settings)
        # How fast a model is served, and what its requests wait, is not the ranker's: the next one takes it over.
        known = next((v.load for v in self._views.values() if v.model == model), None)
        view.load = known or ModelLoad(history=CompletionHistory(self._settings.order.tune_window))
        return view

    def place(self, view: Window) -> None:
        """Follow a view, as far as there is room without taking another's place."""
        if len(self._views) < self._most:
            self._views[view.model, view.ranker_version] = view

    def _add(self, model: str, ranker_version: str) -> Window:
        view = self._views[model, ranker_version] = self.blank(model, ranker_version, QualityTracker(self._quality))
        return view

    def _room(self, now: float) -> bool:
        if len(self._views) < self._most:
            return True
        views = self._views.values()
        idle = [v for v in views if now - v.used_at >= self._settings.quality.forget_after and not _pinned(v)]
        return self._evict(idle) or self._evict([v for v in views if not self._matters(v)])

    def _matters(self, view: Window) -> bool:
        """Whether a decision rests, or soon may rest, on a view."""
        return _stopped(view) or view.tracker.completions >= self._settings.guard.min_known

    def _evict(self, candidates: list[Window]) -> bool:
        if not candidates:
            return False
        least = min(candidates, key=lambda v: (v.tracker.completions, v.used_at))
        del self._views[least.model, least.ranker_version]
        return True


def _pinned(view: Window) -> bool:
    return view.guard.pinned_until is not None


def _stopped(view: Window) -> bool:
    return _pinned(view) or view.guard.mode is GuardMode.FALLBACK
