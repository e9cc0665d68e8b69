"""A connected trace from client to model, found in a real OTLP receiver; and nothing private in it."""

import json
import logging
from urllib.request import urlopen

import grpc
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from rankd_client import Completed, Item, RankClient
from rankd_client.v1 import completion_pb2
from support.wire import completion, completion_stub, item, rank_stub, request

from rankd.telemetry.catalogue import METRICS

SECRETS = ("sesame-prompt", "sesame-id")


@pytest.fixture
def client_tracing(receiver):
    """Spans of this process go to the same receiver, as an engine's would."""
    provider = TracerProvider(resource=Resource.create({"service.name": "engine"}))
    exporter = OTLPSpanExporter(endpoint=f"127.0.0.1:{receiver.port}", insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield provider
    provider.shutdown()


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def batches(spans):
    """The spans of work done for several calls at once; warming up is for none."""
    return [s for s in spans if s.name in {"tokenise", "queue", "infer"} and s.links]


def waited_in_order(call, spans):
    """Whether the wait of a call's batch is from admission, before tokenising, until the model begins."""
    batch = {s.name: s for s in batches(spans) if s.links[0].span_id == call.span_id}
    assert set(batch) == {"tokenise", "queue", "infer"}
    assert {s.links[0].trace_id for s in batch.values()} == {call.trace_id}
    tokenise, queue, infer = batch["tokenise"], batch["queue"], batch["infer"]
    return (
        call.start_time_unix_nano < queue.start_time_unix_nano < tokenise.start_time_unix_nano
        and tokenise.end_time_unix_nano < queue.end_time_unix_nano <= infer.start_time_unix_nano
    )


def test_the_trace_connects_client_daemon_and_model(receiver, client_tracing, start_process, wait_until):
    """One trace: client span → server span → waiting and ordering; the batch links to it; nothing private anywhere."""
    process = start_process(
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
    )
    with RankClient(process.target, timeout=30) as client:
        queue = client.rank([Item(f"{SECRETS[0]} long", request_id=SECRETS[1]), "short"])
        assert not queue.failed
        assert not any(client.rank([f"another prompt, number {n}"]).failed for n in range(4))
        client.report([Completed(r.request_id, r.prediction, 5) for r in queue])
    with grpc.insecure_channel(process.target) as channel, pytest.raises(grpc.RpcError):
        rank_stub(channel).Rank(request(item(SECRETS[1]), item(SECRETS[1], SECRETS[0])), timeout=30)
    metrics = urlopen(process.http + "metrics").read().decode()
    client_tracing.force_flush()
    assert process.terminate() == 0
    wait_until(lambda: any(s.name == "infer" for s in receiver.spans("rankd")))

    rank = "rankd.v1.RankService/Rank"
    sent = next(s for s in receiver.spans("engine") if s.name == rank)
    ours = receiver.spans("rankd")
    (served,) = [s for s in ours if s.name == rank and s.parent_span_id == sent.span_id]
    assert served.trace_id == sent.trace_id
    assert served.kind == trace.SpanKind.SERVER.value + 1
    ours_of = {"rpc.system.name": "grpc", "rpc.method": rank}
    assert attributes(served) == ours_of | {"rpc.response.status_code": "OK"}
    stages = {s.name for s in ours if s.parent_span_id == served.span_id}
    assert {"score", "order"} <= stages
    assert {s.links[0].trace_id for s in batches(ours)} >= {served.trace_id}
    # A step of the machine's clock within a call breaks the order of its times: one of the calls must show it.
    calls = [s for s in ours if s.name == rank and attributes(s)["rpc.response.status_code"] == "OK"]
    assert any(waited_in_order(call, ours) for call in calls)
    refused = next(s for s in ours if s.name == rank and attributes(s)["rpc.response.status_code"] != "OK")
    # By the conventions, what a caller did wrong is no error of the server.
    assert attributes(refused) == ours_of | {"rpc.response.status_code": "INVALID_ARGUMENT"}
    assert refused.status.code == refused.status.STATUS_CODE_UNSET
    sent_metrics = {m.name for m in receiver.measured.metrics()}
    assert {"rpc.server.call.duration", "rankd.items", "rankd.stage.duration", "rankd.guard.mode"} <= sent_metrics
    assert sent_metrics <= set(METRICS)
    said = "".join(process.lines) + metrics + "".join(str(s) for s in ours) + str(receiver.measured.requests)
    assert not [secret for secret in SECRETS if secret in said]


def test_a_guards_change_is_in_the_trace_of_the_reports(receiver, start_process, wait_until):
    """The guard decides after the reports were answered: its change has a span of its own, linked to their call."""
    process = start_process(
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
    )
    trace_id = "c" * 32
    bad = [completion(f"{SECRETS[1]}{n}", float(n), 1000 - n, "tiny@1.0.0") for n in range(600)]
    with grpc.insecure_channel(process.target) as channel:
        completion_stub(channel).ReportCompletions(
            completion_pb2.ReportCompletionsRequest(model="llm", completions=bad),
            timeout=10,
            metadata=(("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"),),
        )
    wait_until(lambda: any(s.name == "guard" for s in receiver.spans("rankd")), what="the guard's span")
    assert process.terminate() == 0
    ours = receiver.spans("rankd")
    call = next(s for s in ours if s.name.endswith("/ReportCompletions"))
    change = next(s for s in ours if s.name == "guard")
    assert change.trace_id.hex() == trace_id
    assert [link.span_id for link in change.links] == [call.span_id]
    (event,) = change.events
    assert event.name == "guard_changed"
    assert attributes(event) == {
        "model": "llm", "ranker_version": "tiny@1.0.0", "from": "warming_up", "to": "fallback", "reason": "quality",
    }  # fmt: skip
    said = "".join(process.lines)
    assert f'"trace_id": "{trace_id}"' in next(line for line in process.lines if "guard_changed" in line)
    assert "ended span" not in said
    assert SECRETS[1] not in said + str(ours)


def test_the_standard_sampler_is_obeyed(receiver, start_process):
    """With parents deciding, an unsampled call is not sent, and a sampled one is."""
    process = start_process(
        environment={
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_SERVICE_NAME": "rank-test",
        }
    )
    with grpc.insecure_channel(process.target) as channel:
        for trace_id, flags in (("a" * 32, "00"), ("b" * 32, "01")):
            header = ("traceparent", f"00-{trace_id}-b7ad6b7169203331-{flags}")
            rank_stub(channel).Rank(request(item("a", f"long {flags}")), timeout=30, metadata=(header,))
        rank_stub(channel).Rank(request(item("a", "long")), timeout=30)
    assert process.terminate() == 0
    spans = receiver.spans("rank-test")
    assert {s.trace_id.hex() for s in spans} == {"b" * 32}
    assert {"rankd.v1.RankService/Rank", "order"} <= {s.name for s in spans}


def test_a_dead_collector_does_not_hold_up_the_shutdown(start_process):
    """With nobody at the endpoint a daemon that drains is gone within seconds, with status 0."""
    process = start_process(environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    with grpc.insecure_channel(process.target) as channel:
        rank_stub(channel).Rank(request(item("a", "long")), timeout=30)
    assert process.terminate(timeout=30) == 0  # OpenTelemetry by itself tries for a minute


@pytest.fixture
def _logging_as_before():
    """Later tests do not log into this one's captured stderr."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.usefixtures("_logging_as_before")
def test_logs_carry_the_callers_trace(start_daemon, capfd):
    """A log event within a call has the caller's trace id, though nothing is sampled or exported here."""
    from rankd.telemetry.logs import configure_logs

    daemon = start_daemon()
    configure_logs("info", "json")
    broken = daemon.app.ranker._registry
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    try:
        daemon.app.ranker._registry = None  # a bug, injected
        with daemon.channel() as channel, pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(
                request(item(SECRETS[1], SECRETS[0])),
                timeout=30,
                metadata=(("traceparent", f"00-{trace_id}-b7ad6b7169203331-00"),),
            )
    finally:
        daemon.app.ranker._registry = broken
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "internal error in rankd; its log has the trace"
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    (event,) = [e for e in events if e["event"] == "internal_error"]
    assert event["trace_id"] == trace_id
    assert event["error_type"] == "AttributeError"
    assert any("ranker.py" in f for f in event["frames"])
    assert not any(secret in json.dumps(events) for secret in SECRETS)
