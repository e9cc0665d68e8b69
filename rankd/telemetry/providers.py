"""OpenTelemetry's providers, exporters and readers, by the standard variables."""

from __future__ import annotations

import importlib
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client.registry import CollectorRegistry

from rankd.telemetry.environment import HTTP_PACKAGE, UsableTelemetry
from rankd.telemetry.readings import PeriodicReader, PrometheusReader, Readings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


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


def make_tracer_provider(resource: Resource, exporters: list[Any], usable: UsableTelemetry) -> TracerProvider | None:
    """Spans to OTLP; None where nobody wants them, or they cannot be sent. Its exporter is added to ``exporters``."""
    if not wanted_exporters("TRACES") or "TRACES" in usable.off:
        return None
    try:
        # Loaded only where it is used: it takes a tenth of a second, and fails by variables.
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = _exporter("TRACES")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except Exception as error:  # noqa: BLE001 - whatever a variable does to it, the daemon starts
        usable.unusable["OTEL_*, of traces"] = _not_sent(error)
        return None
    exporters.append(exporter)
    return provider


def make_metric_readers(
    registry: CollectorRegistry, exporters: list[Any], readings: Readings, usable: UsableTelemetry
) -> list[MetricReader]:
    """Prometheus' reader, and OTLP's where somebody wants it, whose exporter is added to ``exporters``."""
    readers: list[MetricReader] = [PrometheusReader(readings, registry=registry)]
    if wanted_exporters("METRICS") and "METRICS" not in usable.off:
        try:
            exporter = _exporter("METRICS")
            readers.append(PeriodicReader(readings, exporter))
        except Exception as error:  # noqa: BLE001 - as for traces
            usable.unusable["OTEL_*, of metrics"] = _not_sent(error)
        else:
            exporters.append(exporter)
    return readers


def _not_sent(error: Exception) -> str:
    return f"nothing is sent ({type(error).__name__}): see which of these variables are set"


def _exporter(signal: str) -> Any:
    """OTLP over what the variables say, gRPC by default.

    A collector on this machine is spoken to straight, whatever ``http_proxy`` says; the way to one elsewhere may well
    be through a proxy.
    """
    kind, name = {"TRACES": ("trace", "OTLPSpanExporter"), "METRICS": ("metric", "OTLPMetricExporter")}[signal]
    endpoint = _variable(signal, "ENDPOINT") or "http://localhost"
    here = _is_here(endpoint)
    if _variable(signal, "PROTOCOL") == "http/protobuf":
        made = getattr(importlib.import_module(f"{HTTP_PACKAGE}.{kind}_exporter"), name)
        session = importlib.import_module("requests").Session()
        session.trust_env = not here
        return made(session=session)
    made = getattr(importlib.import_module(f"opentelemetry.exporter.otlp.proto.grpc.{kind}_exporter"), name)
    straight = (("grpc.enable_http_proxy", 0), ("grpc.address_http_proxy_enabled_addresses", ""))
    return made(channel_options=straight if here else ())


def _variable(signal: str, what: str) -> str:
    """The value for a signal, else that for all."""
    names = (f"OTEL_EXPORTER_OTLP_{signal}_{what}", f"OTEL_EXPORTER_OTLP_{what}")
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def _is_here(endpoint: str) -> bool:
    """Whether an endpoint is on this machine; of names this is believed of localhost alone."""
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
