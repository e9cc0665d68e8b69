"""Declarations, export by the OTEL_* variables, and the documentation made from the declarations.

``python tests/unit/test_telemetry.py`` writes docs/reference/telemetry.md anew.
"""

import ast
import re
import socket
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest

from rankd.telemetry.catalogue import EVENTS, METRICS, PROCESS_METRICS, SPANS
from rankd.telemetry.providers import wanted_exporters
from rankd.telemetry.redaction import LOG_KEYS, describe_error
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Reason

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "reference" / "telemetry.md"
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
        assert time.monotonic() - began < 5


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


def reference():
    """docs/reference/telemetry.md."""
    metrics = "".join(
        f"| `{name}` | {kind} | {unit} | {', '.join(f'`{label}`' for label in labels.split(', ') if label)} "
        f"| {description} |\n"
        for name, (kind, unit, description, labels) in METRICS.items()
    )
    spans = "".join(f"| `{name}` | {description} |\n" for name, description in SPANS.items())
    events = "".join(f"| `{name}` | {description} |\n" for name, description in EVENTS.items())
    keys = ", ".join(f"`{key}`" for key in sorted(LOG_KEYS))
    process = "".join(f"| `{name}` | {kind} | {text} |\n" for name, (kind, text) in PROCESS_METRICS.items())
    return TEMPLATE.format(metrics=metrics, process=process, spans=spans, events=events, keys=keys)


TEMPLATE = """# Telemetry

Made from the declarations in `rankd/telemetry/catalogue.py` by `python tests/unit/test_telemetry.py`; a test compares.

Metrics are served at `/metrics`. In Prometheus dots are underscores, counters end in `_total` and seconds in
`_seconds`. Traces and metrics go out over OTLP (gRPC only) where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, or the one for
traces or metrics, or where `OTEL_TRACES_EXPORTER` / `OTEL_METRICS_EXPORTER` is `otlp`; any other value of these, such
as `none`, switches off. The other standard variables are OpenTelemetry's own: `OTEL_SERVICE_NAME` (default `rankd`),
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`,
`OTEL_METRIC_EXPORT_INTERVAL`. `OTEL_SDK_DISABLED=true` switches everything off, `/metrics` too.

Without a trace exporter no span is recorded. The trace context of a call (W3C `traceparent`) is in the log events of
the call either way. A shutdown spends at most three seconds on what was not yet sent.

No metric, span or log event holds a prompt, token ids or a request id. The served model is a label, and a caller can
choose it: the number of values is bounded by `quality.max_windows`. Methods that do not exist count as `_OTHER`.

## Metrics

| name | kind | unit | labels | |
|---|---|---|---|---|
{metrics}
On Linux `/metrics` also tells of the process, under the names that Prometheus' own libraries use:

| name in Prometheus | kind | |
|---|---|---|
{process}
Counters without labels, and those outcomes that alerts look at, are there from the start with 0: of a series that
begins at 1 Prometheus never sees the first step.

## Spans

| name | |
|---|---|
{spans}
The attributes of call spans are `rpc.system.name`, `rpc.method`, `rpc.response.status_code` and, where the daemon is
at fault (`UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`), `error.type`. What
a caller did wrong, or cancelled, is no error of the server. A guard's change has a span of its own, `guard`: it is
decided after the call that brought the evidence was answered. Of an exception, spans and logs tell the type and never
the text.

## Log events

JSON lines on stderr, or lines to read on a terminal (`log_format`), with `timestamp`, `level`, `event`, and within a
call `trace_id` and `span_id`.

| event | |
|---|---|
{events}
Further keys: {keys}. Any other key is dropped. Messages of libraries come without their values, OpenTelemetry's
excepted, and have a `logger`.
"""


def test_the_reference_is_made_from_the_declarations():
    """docs/reference/telemetry.md is what this file writes."""
    assert DOC.read_text(encoding="utf-8") == reference(), "run: python tests/unit/test_telemetry.py"


if __name__ == "__main__":
    DOC.write_text(reference(), encoding="utf-8")
