"""Declarations, export by the OTEL_* variables, and the documentation made from the declarations."""

import ast
import re
import socket
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
from support.repository import ROOT

from rankd.telemetry.events import EVENTS
from rankd.telemetry.providers import wanted_exporters
from rankd.telemetry.redaction import LOG_KEYS, describe_error
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Reason

SECRET = "sesame-prompt"


def test_counters_add_up():
    """What rooms report is what Prometheus shows."""
    telemetry = Telemetry("0")
    for _ in range(3):
        telemetry.answer("due", "none")
    telemetry.items(scored=4, echoed=2, unscored=[Reason.DEADLINE, Reason.DEADLINE])
    telemetry.batch_done(3, 20, 24, 0.1)
    telemetry.observe("rankd.queue.prompts", lambda: [(7.0, {})])
    text = generate_latest(telemetry.registry).decode()
    values = {
        line.split(" ")[0].split("{")[0]
        + "".join(w for w in ("scored", "echoed", "deadline") if f'outcome="{w}"' in line): float(
            line.rsplit(" ", 1)[1]
        )
        for line in text.splitlines()
        if line.startswith("rankd_")
    }
    assert values["rankd_answers_total"] == 3
    assert values["rankd_items_totalscored"] == 4
    assert values["rankd_items_totalechoed"] == 2
    assert values["rankd_items_totaldeadline"] == 2
    assert values["rankd_batch_padding_total"] == 4
    assert values["rankd_queue_prompts"] == 7
    telemetry.shutdown()


def test_alerts_find_their_counters_before_anything_happened():
    """What alerts compare with 0 is there from the start; so is the process."""
    telemetry = Telemetry("0")
    values = {
        line.split(" ")[0].split("{")[0] + "".join(re.findall(r'outcome="(\w+)"', line)): float(line.rsplit(" ", 1)[1])
        for line in generate_latest(telemetry.registry).decode().splitlines()
        if not line.startswith("#")
    }
    names = ["rankd_batch_failures_total", "rankd_rate_limited_total", "rankd_completions_totalaccepted"]
    names += [f"rankd_items_total{o}" for o in ("scored", "overloaded", "ranker_unavailable", "deadline")]
    assert [values[name] for name in names] == [0] * 7
    assert values["process_start_time_seconds"] <= time.time()


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h:4317"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_switch_export(monkeypatch, variables, wanted):
    """The exporter's variable decides; an endpoint alone switches on; a disabled SDK stays off."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wanted_exporters("TRACES") is wanted


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "rankd"),
        ({"OTEL_SERVICE_NAME": ""}, "rankd"),
        ({"OTEL_SERVICE_NAME": "rank-eu"}, "rank-eu"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=rank-us,team=x"}, "rank-us"),
    ],
)
def test_the_service_has_the_name_it_is_given(monkeypatch, variables, name):
    """Both standard variables name the service; without them it is rankd."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    telemetry = Telemetry("0")
    telemetry.answer("due", "none")
    assert f'service_name="{name}"' in generate_latest(telemetry.registry).decode()


def test_a_disabled_sdk_costs_no_calls(monkeypatch):
    """With OTEL_SDK_DISABLED every call of telemetry still works, and there are no metrics."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry = Telemetry("0")
    telemetry.answer("due", "none")
    with telemetry.stage("order"):
        telemetry.call("m", "OK", 0.1, None)
    telemetry.observe("rankd.queue.prompts", lambda: [(7.0, {})])
    assert generate_latest(telemetry.registry) == b""
    telemetry.shutdown()


def test_no_exporter_no_spans():
    """Without an exporter there is nothing to link to, and stages are only timed."""
    telemetry = Telemetry("0")
    with telemetry.stage("order"):
        assert telemetry.current_span() is None
    assert "rankd_stage_duration_seconds_count{" in generate_latest(telemetry.registry).decode()


@pytest.fixture
def recorded():
    """A telemetry whose spans stay here, and the spans."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry("0")
    telemetry.recording, telemetry.tracer = True, provider.get_tracer("test")
    return telemetry, exporter


def test_a_failing_stage_does_not_tell_the_exceptions_text(recorded):
    """OpenTelemetry would put text and trace of an exception into the span; both may hold a prompt."""
    telemetry, exporter = recorded
    for work in (telemetry.stage("order"), telemetry.linked("infer", [])):
        with pytest.raises(ValueError, match=SECRET), work:
            raise ValueError(SECRET)
    for span in exporter.get_finished_spans():
        assert SECRET not in span.to_json()
        assert span.attributes["error.type"] == "ValueError"
        assert not span.status.is_ok


def test_a_batch_is_linked_to_all_its_calls(recorded):
    """The span of a batch is a child of the first call and links to every call, each once."""
    telemetry, exporter = recorded
    calls = []
    for name in ("one", "two"):
        with telemetry.tracer.start_as_current_span(name):
            calls.append(telemetry.current_span())
    with telemetry.linked("infer", [calls[0], calls[1], calls[0]], prompts=2):
        pass
    batch = exporter.get_finished_spans()[-1]
    assert [link.context.span_id for link in batch.links] == [c.span_id for c in calls]
    assert batch.parent.span_id == calls[0].span_id
    assert batch.attributes == {"rankd.prompts": 2}


def test_shutdown_takes_seconds_whatever_the_collector_does(monkeypatch):
    """A collector that accepts connections and says nothing does not hold the daemon up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        telemetry = Telemetry("0")
        for _ in range(3000):  # several batches
            with telemetry.stage("order"):
                pass
        began = time.monotonic()
        telemetry.shutdown()
        assert time.monotonic() - began < 30  # each of six batches is tried for ten seconds


def log_calls():
    """Every ``_log.<level>(...)`` in the daemon: where, the event, its keys."""
    for path in sorted((ROOT / "rankd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
            ):
                where = f"{path.name}:{node.lineno}"
                yield where, ast.literal_eval(node.args[0]), [k.arg for k in node.keywords if k.arg]


def test_every_log_call_is_declared():
    """No room logs an event or a key that nobody judged for privacy."""
    calls = list(log_calls())
    assert len(calls) > 5
    for where, event, keys in calls:
        assert event in EVENTS, where
        assert set(keys) <= LOG_KEYS, where
    assert set(describe_error(ValueError())) <= LOG_KEYS
    assert {event for _, event, _ in calls} == set(EVENTS), "declared, but never logged"
