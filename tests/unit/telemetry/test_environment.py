"""OpenTelemetry's variables: what is taken out, what stays, and what is said of it."""

import pytest

from rankd.telemetry.environment import mend_environment

SECRET = "sesame"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "abc"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "128.0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "nan"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "foo"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_PYTHON_METER_PROVIDER", "foo"),
        ("OTEL_PYTHON_TRACER_PROVIDER", "foo"),
        ("OTEL_PYTHON_CONTEXT", "foo"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "foo"),
        ("OTEL_RESOURCE_ATTRIBUTES", SECRET),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "snappy"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "foo"),
        ("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "UNAVAILABLE,NEVER"),
    ],
)
def test_what_cannot_be_used_is_done_without(name, value):
    """It leaves the environment, so that its default holds; it is named, and its value is not."""
    environment = {name: value, "PATH": "/bin"}
    found = mend_environment(environment)
    assert environment == {"PATH": "/bin"}
    assert list(found.unusable) == [name]
    assert value not in found.unusable[name].split()
    assert not found.off


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1", {"TRACES", "METRICS"}),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{SECRET}@collector:4317", {"TRACES", "METRICS"}),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:port", {"TRACES"}),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", {"TRACES", "METRICS"}),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "thrift", {"METRICS"}),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"Bearer {SECRET}", {"TRACES", "METRICS"}),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f"two words={SECRET}", {"TRACES"}),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file.pem", {"TRACES", "METRICS"}),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/", {"METRICS"}),
        ("OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER", "foo", {"TRACES", "METRICS"}),
    ],
)
def test_where_the_way_cannot_be_followed_nothing_is_sent(name, value, off):
    """A guess could send it to somebody else, or in the clear."""
    environment = {name: value}
    found = mend_environment(environment)
    assert found.off == off
    assert list(found.unusable) == [name]
    assert SECRET not in str(found)


def test_what_can_be_used_stays_as_it_is():
    """Every variable with a value that it may have, as operators set them."""
    environment = {
        "OTEL_PROPAGATORS": "tracecontext,baggage",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "64",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8192",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.observability.svc:4317",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc,x-scope-orgid=team",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,host",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=rankd-0,deployment.environment=prod",
    }
    before = dict(environment)
    found = mend_environment(environment)
    assert (environment, found.unusable, found.off) == (before, {}, set())


def test_of_lists_the_rest_stays():
    """As of `tracecontext,baggage,b3`, which OpenTelemetry's operator sets."""
    environment = {
        "OTEL_PROPAGATORS": "tracecontext,baggage,b3",
        "OTEL_RESOURCE_ATTRIBUTES": f"a=b,{SECRET},=c",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "aws_eks,host",
        "OTEL_TRACES_EXPORTER": "console,otlp",
    }
    found = mend_environment(environment)
    assert environment == {
        "OTEL_PROPAGATORS": "tracecontext,baggage",
        "OTEL_RESOURCE_ATTRIBUTES": "a=b",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "host",
        "OTEL_TRACES_EXPORTER": "console,otlp",
    }
    assert len(found.unusable) == 4
    assert SECRET not in str(found)


def test_names_of_the_specification_for_nothing_are_no_fault():
    """Empty is not set; a compression `none` is none; an argument for no sampler is not looked at."""
    environment = {
        "OTEL_PROPAGATORS": " ",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_TRACES_SAMPLER_ARG": "endpoint=http://x",
    }
    found = mend_environment(environment)
    assert (environment, found.unusable) == ({"OTEL_TRACES_SAMPLER": "always_on"}, {})


@pytest.mark.parametrize(
    ("given", "batch", "said"),
    [
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096"}, "2048", 1),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, "100", 0),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "abc", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "3000"}, "2048", 2),
    ],
)
def test_a_batch_of_spans_is_no_longer_than_its_queue(given, batch, said):
    """OpenTelemetry ends the process for it, also where the queue alone is made short."""
    found = mend_environment(given)
    assert given["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] == batch
    assert len(found.unusable) == said
