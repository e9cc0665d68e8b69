"""Metrics of what callers name: read anew at each collection, and kept nowhere.

OpenTelemetry's instruments keep every set of labels that they ever saw, at most 2,000 of them each, and after that take
no new one until the process ends. Served models come from callers and ranker versions come and go, so metrics with
these labels pass the instruments by: what is exported is what there is, and what is gone is gone at the next
collection. How many there are is for who is read to bound (``quality.max_windows``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import structlog
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import Histogram, ObservableCounter, export
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, NumberDataPoint

from rankd.telemetry.catalogue import METRICS, Metric
from rankd.telemetry.plain_histogram import BucketCounts, LabelItems, PlainHistogram
from rankd.telemetry.redaction import describe_error

_log = structlog.get_logger("rankd")
Read = Callable[[], Iterable[tuple[float, dict[str, str]]]]
_Series = tuple[str, LabelItems]


class Readings:
    """What is read at each collection. Any thread may collect; register everything before."""

    def __init__(self) -> None:
        """Start without any."""
        self._reads: dict[str, Read] = {}
        self.histograms: dict[str, PlainHistogram] = {}
        """By metric; those that are not among OpenTelemetry's own."""

    def add(self, name: str, read: Read) -> None:
        """Read this for a metric of the catalogue."""
        self._reads[name] = read

    def values(self) -> dict[str, list[tuple[float, dict[str, str]]]]:
        """All values with their labels, by metric; one that cannot be read is left out, and logged."""
        found = {}
        for name, read in tuple(self._reads.items()):
            try:
                found[name] = list(read())
            except Exception as error:  # noqa: BLE001 - the other metrics are needed all the more
                _log.error("internal_error", **describe_error(error))
        return found


class ReadingExport:
    """Adds readings to what one reader exports; knows what it exported last, and nothing of what is gone."""

    def __init__(self, readings: Readings, *, delta: bool, delta_histograms: bool = False) -> None:
        """Take what is read; ``delta`` exports counters as what came since the last time, and so for histograms."""
        self._readings = readings
        self._delta = delta
        self._delta_histograms = delta_histograms
        self._began = time.time_ns()
        self._tallies: dict[_Series, tuple[BucketCounts, int]] = {}
        """Histograms exported as differences: what was exported last, and when."""
        self._last: dict[_Series, tuple[float, int]] = {}
        """Counters: the value that was exported last, and since when it counts, in nanoseconds since the epoch."""

    def added_to(self, data: export.MetricsData) -> export.MetricsData:
        """The same with readings in the scope of the daemon's own metrics."""
        now = time.time_ns()
        metrics = self._metrics(now) + self._histograms(now)
        return replace(
            data,
            resource_metrics=[
                replace(
                    resource,
                    scope_metrics=[
                        replace(scope, metrics=[*scope.metrics, *metrics]) if scope.scope.name == "rankd" else scope
                        for scope in resource.scope_metrics
                    ],
                )
                for resource in data.resource_metrics
            ],
        )

    def _metrics(self, now: int) -> list[export.Metric]:
        last, self._last = self._last, {}
        out = []
        for name, values in self._readings.values().items():
            if not values:
                continue
            declared = METRICS[name]
            points = [self._point(name, declared, value, labels, last, now) for value, labels in values]
            kind = AggregationTemporality.DELTA if self._delta else AggregationTemporality.CUMULATIVE
            shown = export.Gauge(points) if declared.kind == "gauge" else export.Sum(points, kind, is_monotonic=True)
            out.append(export.Metric(name, declared.description, declared.unit, shown))
        return out

    def _histograms(self, now: int) -> list[export.Metric]:
        out = []
        kind = AggregationTemporality.DELTA if self._delta_histograms else AggregationTemporality.CUMULATIVE
        for name, histogram in self._readings.histograms.items():
            points = [
                point
                for labels, tally in histogram.tallies()
                if (point := self._histogram_point(name, histogram, labels, tally, now)) is not None
            ]
            if points:
                declared = METRICS[name]
                out.append(export.Metric(name, declared.description, declared.unit, export.Histogram(points, kind)))
        return out

    def _histogram_point(
        self, name: str, histogram: PlainHistogram, labels: LabelItems, tally: BucketCounts, now: int
    ) -> HistogramDataPoint | None:
        since = self._began
        least: Any = tally.least
        most: Any = tally.most
        if self._delta_histograms:
            before, since = self._tallies.get((name, labels), (None, since))
            self._tallies[name, labels] = tally, now
            if before is not None:
                tally = tally.since(before)
                if not tally.count:
                    return None
                least = most = None  # of all that came, and not of what came since: both may be left out
        return HistogramDataPoint(
            dict(labels),
            since,
            now,
            tally.count,
            tally.total,
            tally.buckets,
            histogram.boundaries,
            least,
            most,
        )

    def _point(
        self,
        name: str,
        declared: Metric,
        value: float,
        labels: dict[str, str],
        last: dict[_Series, tuple[float, int]],
        now: int,
    ) -> NumberDataPoint:
        if declared.kind == "gauge":
            return NumberDataPoint(labels, 0, now, value)
        series = name, tuple(labels.items())
        before, since = last.get(series, (0.0, now))
        if value < before:  # a window that is gone, and there again
            before, since = 0.0, now
        self._last[series] = value, now if self._delta else since
        return NumberDataPoint(labels, since, now, value - before if self._delta else value)


class PrometheusReader(PrometheusMetricReader):
    """OpenTelemetry's reader for Prometheus, with readings."""

    def __init__(self, readings: Readings, **options: Any) -> None:
        """Take the readings, and what OpenTelemetry's takes."""
        super().__init__(**options)
        self._export = ReadingExport(readings, delta=False)

    def _receive_metrics(self, metrics_data: export.MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self._export.added_to(metrics_data), timeout_millis, **kwargs)


class PeriodicReader(export.PeriodicExportingMetricReader):
    """OpenTelemetry's reader that exports once a minute, with readings."""

    def __init__(self, readings: Readings, exporter: export.MetricExporter) -> None:
        """Take the readings, and the exporter, which says whether counters are sent as differences."""
        # First: the base starts a thread that collects.
        wanted = getattr(exporter, "_preferred_temporality", None) or {}
        delta = AggregationTemporality.DELTA
        self._export = ReadingExport(
            readings,
            delta=wanted.get(ObservableCounter) is delta,
            delta_histograms=wanted.get(Histogram) is delta,
        )
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: export.MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self._export.added_to(metrics_data), timeout_millis, **kwargs)
