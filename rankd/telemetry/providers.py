"""OpenTelemetry's providers, exporters and readers, by the standard variables."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client.registry import CollectorRegistry

from rankd.telemetry.readings import PeriodicReader, PrometheusReader, Readings


def make_resource(version: str) -> Resource:
    """What the telemetry is of: name and version of the service, unless OTEL_* variables name it."""
    found = Resource.create({"service.version": version})
    named = not str(found.attributes.get("service.name", "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource({"service.name": "rankd"}))


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED switches everything off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def wanted_exporters(signal: str) -> bool:
    """Whether TRACES or METRICS go out over OTLP: an exporter is named, or an endpoint."""
    if sdk_disabled():
        return False
    exporters = [e.strip().lower() for e in os.environ.get(f"OTEL_{signal}_EXPORTER", "").split(",") if e.strip()]
    if exporters:
        return "otlp" in exporters
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in endpoints)


def make_tracer_provider(resource: Resource, exporters: list[Any]) -> TracerProvider | None:
    """Spans to OTLP; None where nobody wants them. Its exporter is added to ``exporters``."""
    if not wanted_exporters("TRACES"):
        return None
    # Loaded only where it is used: it takes a tenth of a second.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporters.append(OTLPSpanExporter())
    provider.add_span_processor(BatchSpanProcessor(exporters[-1]))
    return provider


def make_metric_readers(registry: CollectorRegistry, exporters: list[Any], readings: Readings) -> list[MetricReader]:
    """Prometheus' reader, and OTLP's where somebody wants it, whose exporter is added to ``exporters``."""
    readers: list[MetricReader] = [PrometheusReader(readings, registry=registry)]
    if wanted_exporters("METRICS"):
        # As for traces.
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        exporters.append(OTLPMetricExporter())
        readers.append(PeriodicReader(readings, exporters[-1]))
    return readers


def flush(ends: Sequence[Callable[[], None]], exporters: Sequence[Any], seconds: float) -> None:
    """Shut providers down, each in a thread of its own, within so many seconds.

    Args:
        ends: the providers' own ``shutdown``.
        exporters: what they export by.
        seconds: OpenTelemetry's own time limits are not kept while an export retries. After this, exports are ended.
    """
    flushing = [threading.Thread(target=_quietly, args=(end,), daemon=True) for end in ends]
    for thread in flushing:
        thread.start()
    last = time.monotonic() + seconds
    for thread in flushing:
        thread.join(max(0.0, last - time.monotonic()))
    if any(thread.is_alive() for thread in flushing):
        for exporter in exporters:
            _quietly(exporter.shutdown)


def _quietly(end: Callable[[], None]) -> None:
    with suppress(Exception):  # what could not be sent is lost either way, and a shutdown goes on
        end()
