"""Gauges of the daemon's state. They are read where the state is, when metrics are collected, in any thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal

from rankd_client.ordering import CostEstimate, Objective

from rankd.adaptation import Adaptation
from rankd.auth import FileWatch
from rankd.fleet.follower import FleetFollower
from rankd.monitor.monitor import Monitor
from rankd.monitor.trust import prompt_cost_of
from rankd.monitor.window import Window
from rankd.pilot import PilotState
from rankd.pilot.live import LivePilots
from rankd.quality import Interval
from rankd.quality.statistics.pair_counters import counters
from rankd.registry.loaded import Registry
from rankd.scoring.gpu import wanted_provider
from rankd.scoring.scorer import Scorer
from rankd.settings import Settings
from rankd.telemetry.catalogue import READ_ELSEWHERE
from rankd.telemetry.telemetry import Telemetry
from rankd.types import GuardMode

Labels = dict[str, str]
Observations = Iterable[tuple[float, Labels]]
"""Values, each with its labels."""


class StateGauges:
    """Reads what gauges show of one daemon."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        monitor: Monitor,
        follower: FleetFollower,
        certificate_end: Callable[[], float | None],
        files: FileWatch,
        pilots: LivePilots,
    ) -> None:
        """Take what is read.

        Args:
            settings: the daemon's.
            registry: the loaded rankers.
            monitor: the windows.
            follower: the fleet.
            certificate_end: when the certificate expires, seconds since the epoch; None without TLS.
            files: those that are followed.
            pilots: those under way, and those that ended.
        """
        self._pilots = pilots
        self._files = files
        self._settings = settings
        self._registry = registry
        self._monitor = monitor
        self._follower = follower
        self._certificate_end = certificate_end

    def register(self, telemetry: Telemetry) -> None:
        """Let telemetry read every gauge, and the counters that windows keep."""
        observe = telemetry.observe
        observe("rankd.queue.prompts", lambda: self._sum(lambda s: s.queued_prompts))
        observe("rankd.queue.tokens", lambda: self._sum(lambda s: s.queued_tokens))
        observe("rankd.cache.entries", lambda: self._sum(lambda s: s.cached_scores))
        observe("rankd.ranker.info", self._ranker_info)
        observe("rankd.ranker.device_share", self._device_shares)
        observe("rankd.ranker.cpu_products", self._cpu_products)
        observe("rankd.ranker.workers", self._workers)
        observe("rankd.tls.certificate_expiry", self._certificate_expiry)
        observe("rankd.file.failing", self._failing_files)
        provider: Labels = {"provider": wanted_provider(self._settings.provider)}
        observe("rankd.provider.wanted", lambda: [(1.0, provider)])
        observe("rankd.order.trust", self._trust_levels)
        observe("rankd.order.patience", self._patiences)
        observe("rankd.order.objective", lambda: [(1.0, {"objective": self._settings.order.objective})])
        observe("rankd.order.objective_ratio", self._objective_ratios)
        observe("rankd.order.ignores_lengths", self._ignored_lengths)
        observe("rankd.order.prompt_cost", self._prompt_costs)
        observe("rankd.order.service_cost", self._service_costs)
        observe("rankd.guard.mode", self._guard_modes)
        observe("rankd.guard.pinned", self._pinned)
        if (guard := self._settings.guard).enabled:
            observe("rankd.guard.floor", lambda: [(guard.floor, {})])
            observe("rankd.guard.return", lambda: [(guard.floor + guard.margin, {})])
        observe("rankd.quality.tau", lambda: self._estimates("tau"))
        observe("rankd.quality.work_tau", lambda: self._estimates("work_tau"))
        observe("rankd.quality.prompt_work_tau", lambda: self._estimates("prompt_work_tau"))
        observe("rankd.quality.realised_gain", lambda: self._estimates("realised_gain"))
        observe("rankd.quality.decided_pair_share", self._decided_pair_shares)
        observe("rankd.adaptation.in_use", self._learned_in_use)
        observe("rankd.adaptation.completions", self._learned_from)
        for name in ("base_tau", "learned_tau", "difference"):
            observe(f"rankd.adaptation.{name}", partial(self._adaptation_estimates, name))
        observe("rankd.pilot.running", self._running_pilots)
        observe("rankd.pilot.ratio", self._pilot_ratios)
        observe("rankd.fleet.replicas", lambda: [(float(self._follower.replicas), {})])
        for name in READ_ELSEWHERE:
            observe(name, partial(self._pair_counters, name))

    def _windows(self) -> list[Window]:
        return self._monitor.shown_windows(self._registry.in_service.version)

    def _sum(self, value: Callable[[Scorer], int]) -> Observations:
        """A figure of all loaded rankers together."""
        return [(float(sum(value(r.scorer) for r in self._registry.all())), {})]

    def _ranker_info(self) -> Observations:
        ranker = self._registry.in_service
        return [(1.0, {"ranker_version": ranker.version, "provider": ranker.scorer.provider})]

    def _device_shares(self) -> Iterator[tuple[float, Labels]]:
        for ranker in self._registry.all():
            if ranker.device_share is not None:
                yield ranker.device_share, {"ranker_version": ranker.version}

    def _cpu_products(self) -> Iterator[tuple[float, Labels]]:
        for ranker in self._registry.all():
            for operator, count in ranker.cpu_products.items():
                yield float(count), {"ranker_version": ranker.version, "operator": operator}

    def _workers(self) -> Observations:
        rankers = self._registry.all()
        return [(float(r.scorer.runner.workers), {"ranker_version": r.version}) for r in rankers]

    def _certificate_expiry(self) -> Observations:
        end = self._certificate_end()
        return [] if end is None else [(end, {})]

    def _failing_files(self) -> Iterator[tuple[float, Labels]]:
        for state in self._files.states():
            yield float(state.failing_for is not None), {"setting": state.setting}

    def _guard_modes(self) -> Iterator[tuple[float, Labels]]:
        """A mode is one gauge per possible value."""
        for window in self._windows():
            for mode in GuardMode:
                yield float(mode is window.guard.mode), {**_labels(window), "mode": mode.value}

    def _pinned(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            yield float(window.guard.pinned_until is not None), _labels(window)

    def _estimates(
        self, figure: Literal["tau", "work_tau", "prompt_work_tau", "realised_gain"]
    ) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            interval: Interval | None = getattr(window.estimate, figure, None)
            if interval is not None:
                yield from _by_bound(interval, _labels(window))

    def _decided_pair_shares(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            if window.estimate is not None and window.estimate.decided_pair_share is not None:
                yield window.estimate.decided_pair_share, _labels(window)

    def _adaptations(self) -> Iterator[tuple[Window, Adaptation]]:
        return ((w, w.adaptation) for w in self._windows() if w.adaptation is not None)

    def _learned_in_use(self) -> Iterator[tuple[float, Labels]]:
        for window, _ in self._adaptations():
            yield float(window.learned_in_use), _labels(window)

    def _learned_from(self) -> Iterator[tuple[float, Labels]]:
        for window, adaptation in self._adaptations():
            yield float(adaptation.status.completions), _labels(window)

    def _adaptation_estimates(self, figure: str) -> Iterator[tuple[float, Labels]]:
        for window, adaptation in self._adaptations():
            interval: Interval | None = getattr(adaptation.status, figure)
            if interval is not None:
                yield from _by_bound(interval, _labels(window))

    def _pair_counters(self, metric: str) -> Iterator[tuple[float, Labels]]:
        for window in self._monitor.reported_windows():
            for name, labels, value in counters(window.tracker.compared.totals):
                if name == metric:
                    yield value, _labels(window) | labels

    def _trust_levels(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            yield self._monitor.trust(window.model, window.ranker_version).level, _labels(window)

    def _patiences(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            patience = window.load.patience(Objective(self._settings.order.objective))
            if patience is not None:
                yield patience, _labels(window)

    def _ignored_lengths(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            ignored = self._monitor.trust(window.model, window.ranker_version).ignores_lengths
            yield float(ignored), _labels(window)

    def _objective_ratios(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            for objective, outcome in window.load.outcomes.copy().items():
                labels = {**_labels(window), "objective": objective.value}
                yield outcome.mean_ratio, {**labels, "of": "mean"}
                yield outcome.p99_ratio, {**labels, "of": "p99"}
                yield outcome.first_token_ratio, {**labels, "of": "first_token"}

    def _running_pilots(self) -> Iterator[tuple[float, Labels]]:
        for model, pilot in self._pilots.all():
            yield float(pilot.state is PilotState.RUNNING), {"model": model}

    def _pilot_ratios(self) -> Iterator[tuple[float, Labels]]:
        for model, pilot in self._pilots.all():
            report = pilot.report(self._pilots.now(model))
            for effect in report.effects:
                labels = {"model": model, "of": effect.metric.value}
                low, high = effect.bounds(report.state)
                for bound, ratio in (("value", effect.ratio), ("low", low), ("high", high)):
                    if math.isfinite(ratio):
                        yield ratio, {**labels, "bound": bound}

    def _prompt_costs(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            yield prompt_cost_of(window.load, self._settings), _labels(window)

    def _service_costs(self) -> Iterator[tuple[float, Labels]]:
        for window in self._windows():
            if (costs := window.load.costs) is not None:
                labels = _labels(window)
                yield from _by_bound(costs.per_prompt_token, {**labels, "of": "prompt_token"})
                yield from _by_bound(costs.per_output_token, {**labels, "of": "output_token"})
                yield from _by_bound(costs.per_request, {**labels, "of": "request"})


def _by_bound(estimate: Interval | CostEstimate, labels: Labels) -> Iterator[tuple[float, Labels]]:
    yield estimate.value, {**labels, "bound": "value"}
    yield estimate.low, {**labels, "bound": "low"}
    yield estimate.high, {**labels, "bound": "high"}


def _labels(window: Window) -> Labels:
    return {"model": window.model, "ranker_version": window.ranker_version}
