"""Gauges of what ranking saved, read when metrics are collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rankd.clock import CLOCK
from rankd.quality.savings.values import LatencyFigure, SavingsReport, SavingsState
from rankd.quality.statistics.interval import Interval
from rankd.ranking.savings import SavingsReports
from rankd.registry.loaded import Registry
from rankd.telemetry.telemetry import Telemetry

Labels = dict[str, str]
Observations = Iterable[tuple[float, Labels]]


class SavingsGauges:
    """Reads them where they are made."""

    def __init__(self, reports: SavingsReports, registry: Registry) -> None:
        """Take what makes them."""
        self._reports = reports
        self._registry = registry

    def register(self, telemetry: Telemetry) -> None:
        """Let them be read."""
        telemetry.observe("rankd.saved.state", self._states)
        telemetry.observe("rankd.saved.latency", self._latencies)
        telemetry.observe("rankd.saved.time", self._saved)
        telemetry.observe("rankd.saved.payer_time", self._payers)
        telemetry.observe("rankd.saved.slower_share", self._slower)
        telemetry.observe("rankd.saved.total", self._totals)

    def _all(self) -> list[SavingsReport]:
        return self._reports.all(self._registry.in_service.version, CLOCK.now())

    def _figures(self) -> Iterator[tuple[LatencyFigure, Labels]]:
        for report in self._all():
            for one in report.figures.latencies if report.figures is not None else ():
                labels = {"measure": one.measure.value, "statistic": one.statistic.value}
                yield one, {"model": report.model, **labels}

    def _states(self) -> Iterator[tuple[float, Labels]]:
        """A state is one gauge per possible value."""
        for report in self._all():
            for state in SavingsState:
                yield float(state is report.state), {"model": report.model, "state": state.value}

    def _latencies(self) -> Iterator[tuple[float, Labels]]:
        for one, labels in self._figures():
            yield one.observed, {**labels, "of": "observed"}
            yield one.arrival_order, {**labels, "of": "arrival_order"}

    def _saved(self) -> Iterator[tuple[float, Labels]]:
        for one, labels in self._figures():
            yield from _by_bound(one.saved, labels)

    def _payers(self) -> Iterator[tuple[float, Labels]]:
        for report in self._all():
            for one in report.figures.payers if report.figures is not None else ():
                yield from _by_bound(one.saved, {"model": report.model, "part": one.label})

    def _slower(self) -> Iterator[tuple[float, Labels]]:
        for report in self._all():
            if report.figures is not None:
                yield report.figures.slower_share, {"model": report.model}

    def _totals(self) -> Iterator[tuple[float, Labels]]:
        for report in self._all():
            if report.total is not None:
                yield from _by_bound(report.total.seconds, {"model": report.model})


def _by_bound(estimate: Interval, labels: Labels) -> Observations:
    for bound in ("value", "low", "high"):
        yield getattr(estimate, bound), {**labels, "bound": bound}
