"""The metrics of one daemon as OpenTelemetry's instruments.

Counters and histograms are kept here; gauges are read elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from rankd.telemetry.catalogue import (
    CHOSEN_LABELS,
    METRICS,
    READ_ELSEWHERE,
    SECOND_BUCKETS,
    SECONDS,
    SIZE_BUCKETS,
)
from rankd.telemetry.from_zero import FROM_ZERO
from rankd.telemetry.plain_histogram import LabelItems, PlainHistogram
from rankd.telemetry.readings import Readings

_BOUNDARIES = {
    name: SECOND_BUCKETS if metric.unit == SECONDS else SIZE_BUCKETS
    for name, metric in METRICS.items()
    if metric.kind == "histogram"
}
Record = Callable[[float, LabelItems], None]
"""Takes a value and its labels."""


class Instruments:
    """All metrics of ``catalogue.METRICS``."""

    def __init__(
        self,
        version: str,
        resource: Resource,
        readers: Sequence[MetricReader],
        readings: Readings,
        *,
        exemplars: bool,
    ) -> None:
        """Create the counters and histograms.

        Args:
            version: of the service.
            resource: what the metrics are of.
            readers: who collects them.
            readings: what these read beside the instruments: metrics whose labels callers or operators choose.
            exemplars: whether there are traces for them to point to; without, looking costs on every step.
        """
        self._provider = MeterProvider(
            metric_readers=readers,
            # Ours to shut down, in bounded time.
            shutdown_on_exit=False,
            exemplar_filter=None if exemplars else AlwaysOffExemplarFilter(),
            resource=resource,
            views=[
                View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(boundaries))
                for name, boundaries in _BOUNDARIES.items()
            ],
        )
        self._readings = readings
        self._meter = self._provider.get_meter("rankd", version)
        self.counts: dict[str, Counter[LabelItems]] = {}
        """Counters are plain numbers, read when metrics are collected: OpenTelemetry's own take 5 µs a step."""
        self.histograms: dict[str, Record] = {}
        """What takes a histogram's values: plain numbers, too, but where exemplars are wanted."""
        for name, metric in METRICS.items():
            if metric.kind == "counter" and name not in READ_ELSEWHERE:
                self.counts[name] = Counter(dict.fromkeys(FROM_ZERO.get(name, () if metric.labels else ((),)), 0))
                read = partial(self._observations, name)
                self._meter.create_observable_counter(name, [read], metric.unit, metric.description)
            elif metric.kind == "histogram":
                self.histograms[name] = self._histogram(name, exemplars=exemplars)

    def _histogram(self, name: str, *, exemplars: bool) -> Record:
        if exemplars:
            metric = METRICS[name]
            theirs = self._meter.create_histogram(name, metric.unit, metric.description)
            return lambda value, labels: theirs.record(value, dict(labels))
        plain = self._readings.histograms[name] = PlainHistogram(_BOUNDARIES[name])
        return plain.record

    def _observations(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(labels)) for labels, value in list(self.counts[name].items())]

    def counted(self, name: str) -> list[tuple[dict[str, str], int]]:
        """A counter's values since the start, by labels. May be called in any thread."""
        return [(dict(labels), value) for labels, value in self.counts[name].copy().items()]

    def observe(self, name: str, read: Callable[[], Iterable[tuple[float, dict[str, str]]]]) -> None:
        """Let a gauge, or a counter kept elsewhere, be read when metrics are collected, in any thread."""
        metric = METRICS[name]
        assert metric.kind == "gauge" or name in READ_ELSEWHERE

        if CHOSEN_LABELS.intersection(metric.labels):
            self._readings.add(name, read)
            return

        def callback(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, labels) for value, labels in read()]

        gauge = metric.kind == "gauge"
        create = self._meter.create_observable_gauge if gauge else self._meter.create_observable_counter
        create(name, [callback], metric.unit, metric.description)

    def shutdown(self) -> None:
        """Collect a last time; may take as long as an export is retried."""
        self._provider.shutdown()
