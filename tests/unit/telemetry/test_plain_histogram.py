"""Histograms in plain numbers, against OpenTelemetry's own: the same text for Prometheus, the same points over OTLP."""

import random

import pytest
from opentelemetry.exporter.otlp.proto.common._internal.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from rankd.telemetry.instruments import Instruments
from rankd.telemetry.readings import PeriodicReader, PrometheusReader, Readings

CALLS = "rpc.server.call.duration"
OK = ("rpc.method", "M"), ("rpc.response.status_code", "OK")


class Exported(MetricExporter):
    """Keeps what it is given, as it goes over the wire."""

    def __init__(self, temporality):
        super().__init__(preferred_temporality={Histogram: temporality})
        self.points = []
        self.extremes = []

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):  # noqa: ARG002
        for resource in encode_metrics(metrics_data).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in (m for m in scope.metrics if m.HasField("histogram")):
                    assert metric.histogram.aggregation_temporality == (1 if self.delta else 2)
                    self.points += [
                        (metric.name, p.count, p.sum, list(p.bucket_counts), list(p.explicit_bounds))
                        for p in metric.histogram.data_points
                    ]
                    self.extremes += [
                        (p.min if p.HasField("min") else None, p.max if p.HasField("max") else None)
                        for p in metric.histogram.data_points
                    ]
        return MetricExportResult.SUCCESS

    @property
    def delta(self):
        return self._preferred_temporality[Histogram] is AggregationTemporality.DELTA

    def shutdown(self, timeout_millis=30_000, **kwargs):
        """Nothing is open."""

    def force_flush(self, timeout_millis=10_000):  # noqa: ARG002
        return True


def recorded(reader_of, rounds):
    """What readers show of the same values after each round, kept by OpenTelemetry and kept here."""
    shown = []
    for exemplars in (True, False):
        readings, draw = Readings(), random.Random(3)
        reader, read = reader_of(readings)
        made = Instruments("0", Resource({}), [reader], readings, exemplars=exemplars)
        assert bool(readings.histograms) is not exemplars
        pages = []
        for _ in range(rounds):
            for _ in range(200):
                # Sums of these are exact, in whatever order.
                made.histograms[CALLS](draw.choice([0.5, 2.0, draw.randrange(512) / 1024, 128.0]), OK)
                made.histograms["rankd.batch.tokens"](draw.randrange(1, 300), ())
            pages.append(read())
        made.shutdown()
        shown.append(pages)
    return shown


def test_prometheus_reads_the_same():
    """Names, labels, buckets and sums, on one page and on the next; values on a boundary are below it."""

    def reader_of(readings):
        registry = CollectorRegistry()

        def page():
            text = generate_latest(registry).decode()
            return sorted(x for x in text.splitlines() if "rpc_server" in x or "rankd_batch_tokens" in x)

        return PrometheusReader(readings, registry=registry), page

    theirs, ours = recorded(reader_of, 2)
    assert theirs == ours
    assert any('rpc_server_call_duration_seconds_bucket{le="0.5"' in line for line in ours[0])


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
def test_otlp_sends_the_same(temporality):
    """As sums since the start, and as what came since the last export."""

    def reader_of(readings):
        exporter = Exported(temporality)
        reader = PeriodicReader(readings, exporter)

        def points():
            exporter.points.clear()
            reader.collect()
            return sorted(exporter.points)

        return reader, points

    theirs, ours = recorded(reader_of, 3)
    assert theirs == ours
    counts = [{p[0]: p[1] for p in page}[CALLS] for page in ours]
    assert counts == ([200] * 3 if temporality is AggregationTemporality.DELTA else [200, 400, 600])


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
def test_the_least_and_the_most_are_those_of_the_interval_that_is_sent(temporality):
    """What is not known of an interval is left out: yesterday's slowest call is not one of today."""
    readings, exporter = Readings(), Exported(temporality)
    reader = PeriodicReader(readings, exporter)
    made = Instruments("0", Resource({}), [reader], readings, exemplars=False)
    for value in (9.0, 2.0):
        made.histograms[CALLS](value, OK)
        reader.collect()
    made.shutdown()
    delta = temporality is AggregationTemporality.DELTA
    assert exporter.extremes[:2] == [(9.0, 9.0), (None, None) if delta else (2.0, 9.0)]
