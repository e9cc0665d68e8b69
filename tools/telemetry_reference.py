"""The reference of metrics, spans and log events, from their declarations.

``python -m tools.telemetry_reference`` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rankd.telemetry.catalogue import METRICS, PROCESS_METRICS
from rankd.telemetry.events import EVENTS
from rankd.telemetry.redaction import LOG_KEYS
from rankd.telemetry.span_names import SPANS
from tools.generated import REFERENCE, main, paragraph

FILE = REFERENCE / "telemetry.md"
_TEMPLATE = """# Telemetry

Made from the declarations in `rankd/telemetry/catalogue.py` and `events.py` by `make generate`; a test compares.

Metrics are served at `/metrics`. In Prometheus dots are underscores, counters end in `_total` and seconds in
`_seconds`. Traces and metrics go out over OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, or the one for traces or
metrics, or where `OTEL_TRACES_EXPORTER` / `OTEL_METRICS_EXPORTER` is `otlp`; any other value of these, such as `none`,
switches off. It is gRPC (port 4317) unless `OTEL_EXPORTER_OTLP_PROTOCOL` is `http/protobuf` (port 4318), which needs
`pip install 'rankd[otlp-http]'`. The other standard variables are OpenTelemetry's own: `OTEL_SERVICE_NAME` (default
`rankd`), `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`,
`OTEL_METRIC_EXPORT_INTERVAL`. `OTEL_SDK_DISABLED=true` switches everything off, `/metrics` too.

A variable that cannot be used keeps no process from starting: rankd does without it and says so once, by its name
(`telemetry_variable_unusable`). Its default holds; where it says how or where to send (endpoint, protocol, headers,
certificates), nothing is sent instead. Trace context is W3C's alone, whatever `OTEL_PROPAGATORS` names. A collector on
this machine is spoken to straight; to another one the proxy that `http_proxy` and its like name is used.

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
{keys}"""


def reference() -> str:
    """The page."""
    metrics = "".join(
        f"| `{name}` | {m.kind} | {m.unit} | {', '.join(f'`{label}`' for label in m.labels)} | {m.description} |\n"
        for name, m in METRICS.items()
    )
    spans = "".join(f"| `{name}` | {description} |\n" for name, description in SPANS.items())
    events = "".join(f"| `{name}` | {description} |\n" for name, description in EVENTS.items())
    keys = paragraph(
        f"Further keys: {', '.join(f'`{key}`' for key in sorted(LOG_KEYS))}. Any other key is dropped. Messages of "
        "libraries come without their values, OpenTelemetry's excepted, and have a `logger`."
    )
    process = "".join(f"| `{name}` | {kind} | {text} |\n" for name, (kind, text) in PROCESS_METRICS.items())
    return _TEMPLATE.format(metrics=metrics, process=process, spans=spans, events=events, keys=keys)


def files() -> dict[Path, str]:
    """The page, where it belongs."""
    return {FILE: reference()}


if __name__ == "__main__":
    sys.exit(main("Write the reference of telemetry.", files))
