"""A daemon under OpenTelemetry's variables of others: it starts, sends what it can, and says what it cannot."""

import json

from rankd_client import RankClient

from rankd.telemetry.environment import mend_environment

SECRETS = ("sesame-prompt",)
HOSTILE = {
    "OTEL_PROPAGATORS": "tracecontext,baggage,b3",
    "OTEL_PYTHON_CONTEXT": "foo",
    "OTEL_PYTHON_METER_PROVIDER": "foo",
    "OTEL_PYTHON_TRACER_PROVIDER": "foo",
    "OTEL_METRICS_EXEMPLAR_FILTER": "foo",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "abc",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "-7",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096",
    "OTEL_METRIC_EXPORT_INTERVAL": "abc",
    "OTEL_TRACES_SAMPLER": "xray",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "foo",
    "OTEL_RESOURCE_ATTRIBUTES": f"{SECRETS[0]},deployment=test",
}


def test_spans_are_sent_whatever_else_variables_say(receiver, start_process, wait_until):
    """Names that are not installed and values that cannot be read, all at once: each is told, once, and done without.

    A web proxy is named too, and does not keep spans from a collector on this machine.
    """
    process = start_process(
        environment={
            **HOSTILE,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9"),
            "no_proxy": "",
            "GRPC_ADDRESS_HTTP_PROXY": "127.0.0.1:9",
            "GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES": "127.0.0.0/8",
        }
    )
    with RankClient(process.target, timeout=30) as client:
        assert client.rank(["long", "short"]).order == [1, 0]
    wait_until(lambda: any(s.name == "order" for s in receiver.spans("rankd")), what="a span")
    assert process.terminate() == 0
    events = [json.loads(line) for line in process.lines if line.startswith("{")]
    told = [e["setting"] for e in events if e["event"] == "telemetry_variable_unusable"]
    assert sorted(told) == sorted(HOSTILE)
    said = "".join(process.lines)
    assert "Traceback" not in said
    assert SECRETS[0] not in said


def test_where_it_cannot_be_told_how_to_send_nothing_is_sent(receiver, start_process):
    """A header without a name, as of a secret that was set alone: no span, no metric, and no word of the secret."""
    process = start_process(
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Bearer {SECRETS[0]}",
        }
    )
    with RankClient(process.target, timeout=30) as client:
        assert not client.rank(["long", "short"]).failed
    assert process.terminate() == 0
    assert not receiver.requests
    assert not receiver.measured.requests
    said = "".join(process.lines)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert SECRETS[0] not in said


def test_otlp_over_http(http_receiver, start_process, wait_until):
    """With the extra `otlp-http` spans and metrics go there, by no web proxy; without it, its remedy is told."""
    process = start_process(
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{http_receiver.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "http_proxy": "http://127.0.0.1:9",
        }
    )
    with RankClient(process.target, timeout=30) as client:
        assert client.rank(["long", "short"]).order == [1, 0]
    if mend_environment({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}).off:
        assert process.terminate() == 0
        assert "pip install 'rankd[otlp-http]'" in "".join(process.lines)
        assert not http_receiver.paths
        return
    wait_until(lambda: "order" in http_receiver.names, what="a span")
    assert process.terminate() == 0
    assert http_receiver.paths == {"/v1/traces", "/v1/metrics"}
