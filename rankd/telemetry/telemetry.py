"""Every metric, span and log event of the daemon, declared once, with the calls that rooms make.

Rooms pass plain values and import nothing of OpenTelemetry. Providers belong to one daemon, not to the process, so
that two daemons in one process (as in tests) do not mix.

Export follows the standard variables: ``OTEL_TRACES_EXPORTER``/``OTEL_METRICS_EXPORTER`` say ``otlp`` or ``none``;
where they are not set, OTLP (over gRPC) is on where ``OTEL_EXPORTER_OTLP_ENDPOINT``, or the one for traces or metrics,
is set. docs/telemetry.md is written from the tables here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from rankd.status.history import Stages
from rankd.telemetry.redaction import describe_error
from rankd.types import GuardMode, Reason

_log = structlog.get_logger("rankd")

SECONDS = "s"
FLUSH_SECONDS = 3.0
"""What a shutdown spends on telemetry, whatever the collector does."""
SECOND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)

METRICS: dict[str, tuple[str, str, str, str]] = {
    "rpc.server.call.duration": (
        "histogram",
        SECONDS,
        "Duration of calls, by method and status.",
        "rpc.system.name, rpc.method, rpc.response.status_code, error.type",
    ),
    "rankd.stage.duration": (
        "histogram",
        SECONDS,
        "Time per stage: queue (a batch's oldest prompt, until read), score (a call's wait), tokenise, infer, order.",
        "stage",
    ),
    "rankd.answers": ("counter", "{answer}", "Rank answers, by policy and reason.", "policy, reason"),
    "rankd.items": (
        "counter",
        "{item}",
        "Items in Rank answers, by outcome: scored, echoed, or why unscored.",
        "outcome",
    ),
    "rankd.batch.prompts": ("histogram", "{prompt}", "Prompts in a batch.", ""),
    "rankd.batch.tokens": ("histogram", "{token}", "Tokens in a batch, padding included.", ""),
    "rankd.batch.padding": ("counter", "{token}", "Padding tokens that the model read.", ""),
    "rankd.batch.failures": ("counter", "{batch}", "Batches that failed.", ""),
    "rankd.completions": (
        "counter",
        "{report}",
        (
            "Reports, by outcome: accepted, not_followed (beyond quality.max_windows), over_share (beyond "
            "quality.max_tenant_share), duplicate, or why rejected."
        ),
        "outcome",
    ),
    "rankd.guard.transitions": (
        "counter",
        "{transition}",
        "Changes of a guard, by from, to and reason.",
        "from, to, reason",
    ),
    "rankd.shadow.prompts": (
        "counter",
        "{prompt}",
        "Prompts offered to shadows, by outcome: scored, failed, dropped.",
        "outcome",
    ),
    "rankd.judgements": ("counter", "{judgement}", "Candidates judged, by verdict and evidence.", "verdict, evidence"),
    "rankd.completion_log.rows": (
        "counter",
        "{row}",
        "Rows of the completion log (prompts, completions), by outcome: written, dropped.",
        "kind, outcome",
    ),
    "rankd.completion_log.segments": (
        "counter",
        "{segment}",
        "Segments of the completion log, by outcome: written, deleted (too old, or too many).",
        "outcome",
    ),
    "rankd.completion_log.bytes": ("counter", "By", "Bytes of those segments.", "outcome"),
    "rankd.rate_limited": ("counter", "{call}", "Calls refused because their caller was beyond its rate.", ""),
    "rankd.auth.refused": (
        "counter",
        "{refusal}",
        (
            "Calls that were refused, by reason: missing, unknown or expired (credential), role, tenant. And "
            "predictions that were not believed: signature, of an echo or a report; tenant, of a report."
        ),
        "reason",
    ),
    "rankd.tls.certificate_expiry": (
        "gauge",
        SECONDS,
        "When the first certificate of the server's chain is over, in seconds since the epoch; absent without TLS.",
        "",
    ),
    "rankd.queue.prompts": ("gauge", "{prompt}", "Prompts that wait for the model.", ""),
    "rankd.queue.tokens": ("gauge", "{token}", "Tokens that wait for the model.", ""),
    "rankd.cache.entries": ("gauge", "{score}", "Scores in the cache.", ""),
    "rankd.completion_log.failing": (
        "gauge",
        "1",
        "The alarm: 1 while the completion log cannot be written, or drops rows. Serving goes on.",
        "",
    ),
    "rankd.completion_log.queue": ("gauge", "By", "Memory of rows that wait to be written to the completion log.", ""),
    "rankd.ranker.info": (
        "gauge",
        "1",
        "1 for the ranker in service, by version and provider.",
        "ranker_version, provider",
    ),
    "rankd.provider.wanted": (
        "gauge",
        "1",
        "1 for the provider that the ranker should run on: as set; where that is auto, cuda if the machine has a GPU.",
        "provider",
    ),
    "rankd.order.trust": (
        "gauge",
        "1",
        "How far a ranker is followed, 0 (arrival order) to 1.",
        "model, ranker_version",
    ),
    "rankd.order.patience": (
        "gauge",
        "s",
        "Patience per expected token that tuning found, before trust; absent until it found one.",
        "model, ranker_version",
    ),
    "rankd.guard.mode": (
        "gauge",
        "1",
        "1 for the mode a guard is in, by served model, ranker and mode.",
        "model, ranker_version, mode",
    ),
    "rankd.guard.pinned": (
        "gauge",
        "1",
        "1 while an operator holds a guard in its mode, else 0.",
        "model, ranker_version",
    ),
    "rankd.guard.floor": (
        "gauge",
        "1",
        "Tau below which, by its upper bound, a ranker is followed no more (guard.floor); absent with the guard off.",
        "",
    ),
    "rankd.guard.return": (
        "gauge",
        "1",
        "Tau above which, by its lower bound, it is followed again (guard.floor + guard.margin); absent likewise.",
        "",
    ),
    "rankd.quality.tau": (
        "gauge",
        "1",
        "Censoring-aware Kendall's tau-b, by bound: value, low, high.",
        "model, ranker_version, bound",
    ),
    "rankd.quality.realised_gain": (
        "gauge",
        "1",
        "Share of the oracle's gain that is realised, by bound.",
        "model, ranker_version, bound",
    ),
    "rankd.fleet.replicas": (
        "gauge",
        "{replica}",
        "Replicas heard of late, this one included; 1 without fleet.peers.",
        "",
    ),
    "rankd.quality.compared": (
        "counter",
        "{report}",
        "Complete reports compared with the quality.pair_window before them on this replica (docs/fleet.md).",
        "model, ranker_version",
    ),
    "rankd.quality.statistics.rolling_pairs": (
        "counter",
        "{pair}",
        "Their pairs, by kind: concordant, discordant, tied_score, tied_length, tied_both.",
        "model, ranker_version, kind",
    ),
    "rankd.quality.pair_tokens": (
        "counter",
        "{token}",
        "Sum of the length differences of those pairs, by kind: concordant, discordant, tied_score.",
        "model, ranker_version, kind",
    ),
    "rankd.quality.pair_products": (
        "counter",
        "{product}",
        "Sums of products of two averages over a report's pairs, for the interval of tau, by which two.",
        "model, ranker_version, of",
    ),
    "rankd.quality.pair_token_products": (
        "counter",
        "{product}",
        "The same of length differences, for the interval of realised gain.",
        "model, ranker_version, of",
    ),
    "rankd.quality.decided_pair_share": ("gauge", "1", "Share of pairs whose order is known.", "model, ranker_version"),
}
"""All metrics by name: kind, unit, description, labels. Labels that a caller can choose (the served model) are bounded
in number by ``quality.max_windows``."""

READ_ELSEWHERE = frozenset(
    f"rankd.quality.{name}" for name in ("compared", "pairs", "pair_tokens", "pair_products", "pair_token_products")
)
"""Counters that a room keeps itself, and that are read there when metrics are collected."""

PROCESS_METRICS: dict[str, tuple[str, str]] = {
    "process_cpu_seconds": ("counter", "Processor time, seconds."),
    "process_resident_memory_bytes": ("gauge", "Memory in use, bytes."),
    "process_virtual_memory_bytes": ("gauge", "Address space, bytes; much more than is in use."),
    "process_open_fds": ("gauge", "Open files and connections."),
    "process_max_fds": ("gauge", "Most of these that the system allows."),
    "process_start_time_seconds": ("gauge", "When the process began, seconds since the epoch."),
}
"""What prometheus_client tells of the process on Linux, by Prometheus name: kind and description. Only at /metrics."""

FROM_ZERO: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "rankd.items": tuple(
        (("outcome", outcome),)
        for outcome in ("scored", "echoed", "deadline", "overloaded", "ranker_unavailable", "needs_prompt")
    ),
    "rankd.completions": ((("outcome", "accepted"),),),
}
"""Labels of counters that are told from the start, as those without labels are: of a series that begins at 1,
Prometheus never sees the first step, and one that is not there cannot be compared with 0."""

SPANS: dict[str, str] = {
    "rankd.v1.<Service>/<Method>": "One call, kind SERVER, child of the caller's span; RPC semantic conventions.",
    "score": "Waiting for scores within a call.",
    "tokenise": "Encoding a chunk of prompts, linked to its calls.",
    "queue": "A batch's wait: its oldest prompt, from admission until the model begins, tokenising included; linked.",
    "infer": "One batch in the model, linked to its calls.",
    "order": "Ordering within a call.",
    "guard": "A guard's change, with the event `guard_changed`; linked to the call, if any, that brought it about.",
}

EVENTS: dict[str, str] = {
    "started": "The daemon serves.",
    "draining": "A shutdown began.",
    "stopped": "The shutdown is complete.",
    "ranker_loaded": "A ranker was read, checked and warmed up.",
    "ranker_promoted": "A ranker took the place of another.",
    "ranker_unloaded": "A ranker left memory.",
    "ranker_judged": "A candidate was compared with the ranker in service (`previous`): difference in tau, bounds.",
    "shadow_started": "A candidate scores in the shadow.",
    "shadow_stopped": "A candidate scores no more; so many prompts scored, so many completions of them reported.",
    "guard_changed": "A guard changed its mode.",
    "pilot_changed": "A pilot was planned, began or ended: its `state`, why, and the `blocks` that were measured.",
    "completion_log_failing": "The completion log cannot be written, or drops rows; `reason` says which. Told once.",
    "completion_log_recovered": "The completion log is written again.",
    "snapshot_restored": "Windows of an earlier process were restored: how many, with so many completions.",
    "snapshot_unusable": "The snapshot was left alone, `reason` says why; windows begin empty.",
    "snapshot_failing": "The snapshot cannot be written. Told once until it can.",
    "fleet_changed": "So many replicas are heard now, this one included (`replicas`).",
    "peer_refuses": "A peer is there and does not say what it knows (`reason`): the token of `fleet.token_file` is "
    "wrong or lacks the role quality, or it runs an older rankd. Told once, until it answers.",
    "peers_failing": "Peers could not be asked because of a bug, or of a file that is gone.",
    "scoring_failed": "Scores could not be had because of a bug or a failing model.",
    "internal_error": "A call, or a page beside gRPC, failed because of a bug; the trace has no values in it.",
    "secrets_reloaded": "What auth.file or signing.file (`setting`) holds now is in force.",
    "secrets_unusable": "That file changed and is wrong; what it held before stays in force.",
    "certificate_renewed": "New connections get the certificate that is in the files now.",
    "certificate_unusable": "The certificate files changed and are wrong; the certificate before is kept.",
    "proxy_started": "`rankd proxy` serves.",
    "upstream_found": "The proxy knows its engine, and which priority that serves first.",
    "upstream_misconfigured": "The engine does not do with priorities what it should; `reason` names the remedy.",
    "upstream_unknown": "The engine does not say which priority it serves first: none is written until it is named.",
    "upstream_unreachable": "The engine did not answer the proxy's start; it is asked again in the background.",
    "answers_without_usage": "An answer does not say its length, and is not reported; `reason` names the remedy. Once.",
}


_RANK = "rankd.v1.RankService/Rank"
_SCORED, _ECHOED = (("outcome", "scored"),), (("outcome", "echoed"),)
# By identity: there may be ten thousand to count, and hashing a member of an enum is a call into Python.
_UNSCORED = {id(reason): (("outcome", reason.value),) for reason in Reason}


class Telemetry:
    """What rooms call. Cheap where nothing is exported: spans are then not even recorded."""

    def __init__(self, version: str, *, registry: CollectorRegistry | None = None) -> None:
        """Build the providers of one daemon from the OTEL_* variables.

        Args:
            version: of the service.
            registry: where Prometheus metrics are collected; default: one of its own.
        """
        resource = _resource(version)
        self.registry = registry or CollectorRegistry()
        if not _disabled():
            ProcessCollector(registry=self.registry)
        self._exporters: list[Any] = []
        self._spans = _tracer_provider(resource, self._exporters)
        self.recording = self._spans is not None
        self.tracer = (self._spans or trace.NoOpTracerProvider()).get_tracer("rankd", version)
        self._meters = MeterProvider(
            metric_readers=_metric_readers(self.registry, self._exporters),
            # Ours to shut down, in bounded time.
            shutdown_on_exit=False,
            # Without traces there is nothing for an exemplar to point to, and looking costs on every step.
            exemplar_filter=None if self.recording else AlwaysOffExemplarFilter(),
            resource=resource,
            views=[
                View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(boundaries))
                for name, boundaries in (
                    ("*.duration", SECOND_BUCKETS),
                    ("rankd.batch.prompts", SIZE_BUCKETS),
                    ("rankd.batch.tokens", SIZE_BUCKETS),
                )
            ],
        )
        self._meter = self._meters.get_meter("rankd", version)
        self._metrics: dict[str, Any] = {}
        self.stages = Stages()
        # Counters are plain numbers, read when metrics are collected: OpenTelemetry's own take 5 µs a step.
        self._counts: dict[str, Counter[tuple[tuple[str, str], ...]]] = {
            n: Counter(dict.fromkeys(FROM_ZERO.get(n, () if m[3] else ((),)), 0))
            for n, m in METRICS.items()
            if m[0] == "counter" and n not in READ_ELSEWHERE
        }
        for name, (kind, unit, description, _) in METRICS.items():
            if name in self._counts:
                self._meter.create_observable_counter(name, [partial(self._counted, name)], unit, description)
            elif kind == "histogram":
                self._metrics[name] = self._meter.create_histogram(name, unit, description)

    def _counted(self, name: str, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, dict(labels)) for labels, value in list(self._counts[name].items())]

    def counted(self, name: str) -> list[tuple[dict[str, str], int]]:
        """A counter's values since the start, by labels. May be called in any thread."""
        return [(dict(labels), value) for labels, value in self._counts[name].copy().items()]

    # -- spans and stages ----------------------------------------------------------------------------------------------

    def current_span(self) -> object | None:
        """The current span's context, to link to later; None where nothing is recorded."""
        if not self.recording:
            return None
        context = trace.get_current_span().get_span_context()
        return context if context.is_valid else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the current call, and give it a span."""
        began = time.perf_counter()
        try:
            if self.recording:
                with self._span(name):
                    yield
            else:
                yield
        finally:
            self.stage_seconds(name, time.perf_counter() - began)

    @contextmanager
    def _span(self, name: str, **options: Any) -> Iterator[None]:
        """A span that tells an exception's type only: OpenTelemetry would add its text, which may hold a prompt."""
        with self.tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False, **options
        ) as span:
            try:
                yield
            except (asyncio.CancelledError, GeneratorExit):
                raise  # the caller went away
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    def stage_seconds(self, name: str, seconds: float) -> None:
        """Note how long a stage took."""
        self.stages.add(name, seconds)
        self._metrics["rankd.stage.duration"].record(seconds, {"stage": name})

    @contextmanager
    def linked(self, name: str, spans: Sequence[object], **attributes: int) -> Iterator[None]:
        """A span of work done for several calls at once, linked to theirs; for worker threads."""
        if not self.recording:
            yield
            return
        named = {f"rankd.{k}": v for k, v in attributes.items()}
        with self._span(name, attributes=named, **_relations(spans)):
            yield

    def queued(self, seconds: float, spans: Sequence[object]) -> None:
        """Note how long a batch has waited by now, linked to the calls that waited for it; for worker threads."""
        self.stage_seconds("queue", seconds)
        if self.recording:
            now = time.time_ns()
            self.tracer.start_span("queue", start_time=now - int(seconds * 1e9), **_relations(spans)).end(now)

    def batch_done(self, prompts: int, tokens: int, padded: int, seconds: float) -> None:
        """Count a batch that succeeded."""
        self._metrics["rankd.batch.prompts"].record(prompts)
        self._metrics["rankd.batch.tokens"].record(padded)
        self._counts["rankd.batch.padding"][()] += padded - tokens
        self.stage_seconds("infer", seconds)

    def batch_failed(self, error: BaseException | None) -> None:
        """Count a batch, or a chunk to encode, that failed, and say so."""
        self._counts["rankd.batch.failures"][()] += 1
        _log.error("scoring_failed", **(describe_error(error) if error is not None else {}))

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call(self, method: str, status: str, seconds: float, error_type: str | None) -> None:
        """Count a call that ended."""
        attributes = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": status}
        if error_type is not None:
            attributes["error.type"] = error_type
        self._metrics["rpc.server.call.duration"].record(seconds, attributes)
        if method == _RANK:
            self.stages.add("call", seconds)

    def rate_limited(self) -> None:
        """Count a call that was refused for its rate."""
        self._counts["rankd.rate_limited"][()] += 1

    def refused(self, reason: str) -> None:
        """Count a call that was refused for its credential, or a prediction that was not believed."""
        self._counts["rankd.auth.refused"][(("reason", reason),)] += 1

    def answer(self, policy: str, reason: str) -> None:
        """Count a Rank answer."""
        self._counts["rankd.answers"][("policy", policy), ("reason", reason)] += 1

    def items(self, *, scored: int, echoed: int, unscored: Iterable[Reason]) -> None:
        """Count the items of an answer."""
        items = self._counts["rankd.items"]
        if scored:
            items[_SCORED] += scored
        if echoed:
            items[_ECHOED] += echoed
        for identity, number in Counter(map(id, unscored)).items():
            items[_UNSCORED[identity]] += number

    def completion(self, outcome: str) -> None:
        """Count a report: accepted, duplicate, or why it was rejected."""
        self._counts["rankd.completions"][(("outcome", outcome),)] += 1

    def shadow(self, outcome: str) -> None:
        """Count a prompt offered to a shadow."""
        self._counts["rankd.shadow.prompts"][(("outcome", outcome),)] += 1

    def logged(self, kind: str, outcome: str, rows: int) -> None:
        """Count rows of the completion log."""
        self._counts["rankd.completion_log.rows"][("kind", kind), ("outcome", outcome)] += rows

    def segments(self, outcome: str, size: int) -> None:
        """Count a segment of the completion log that was written or deleted; its size in bytes."""
        self._counts["rankd.completion_log.segments"][(("outcome", outcome),)] += 1
        self._counts["rankd.completion_log.bytes"][(("outcome", outcome),)] += size

    # -- changes of state ----------------------------------------------------------------------------------------------

    def guard_changed(self, *, model: str, ranker_version: str, origin: str, to: str, reason: str) -> None:
        """Tell of a guard's change: log event, metric and an event in a span of its own.

        A guard decides after the call that brought the evidence, if there was one, was answered: that span has ended.
        """
        what = {"from": origin, "to": to, "reason": reason}
        self._counts["rankd.guard.transitions"][tuple(what.items())] += 1
        with self.linked("guard", [self.current_span()]):
            _log.warning(
                "guard_changed", model=model, ranker_version=ranker_version, origin=origin, to=to, reason=reason
            )
            event = {"model": model, "ranker_version": ranker_version, **what}
            trace.get_current_span().add_event("guard_changed", event)

    def pilot_changed(self, *, model: str, state: str, reason: str, blocks: int) -> None:
        """Tell of a pilot's beginning, its start and its end."""
        _log.info("pilot_changed", model=model, state=state, reason=reason, blocks=blocks)

    def shadow_started(self, ranker_version: str) -> None:
        """Tell of a shadow's beginning."""
        _log.info("shadow_started", ranker_version=ranker_version)

    def shadow_stopped(self, ranker_version: str, prompts: int, completions: int) -> None:
        """Tell of a shadow's end."""
        _log.info("shadow_stopped", ranker_version=ranker_version, prompts=prompts, completions=completions)

    def judged(
        self,
        *,
        ranker_version: str,
        previous: str,
        verdict: str,
        evidence: str,
        completions: int,
        bounds: tuple[float, float, float] | None,
    ) -> None:
        """Tell of a judgement; ``bounds`` are the difference in tau, and its interval."""
        self._counts["rankd.judgements"][("verdict", verdict), ("evidence", evidence)] += 1
        difference, low, high = bounds or (None, None, None)
        _log.info(
            "ranker_judged",
            ranker_version=ranker_version,
            previous=previous,
            verdict=verdict,
            evidence=evidence,
            completions=completions,
            difference=difference,
            low=low,
            high=high,
        )

    def completion_log_failing(self, reason: str, error: BaseException | None) -> None:
        """Tell that rows of the completion log are not written."""
        code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
        about = describe_error(error) if error is not None else {}
        _log.error("completion_log_failing", reason=f"{reason}: {code}" if code else reason, **about)

    def completion_log_recovered(self) -> None:
        """Tell that they are again."""
        _log.info("completion_log_recovered")

    def snapshot_restored(self, windows: int, completions: int) -> None:
        """Tell what a snapshot brought back."""
        _log.info("snapshot_restored", windows=windows, completions=completions)

    def snapshot_unusable(self, reason: str) -> None:
        """Tell that a snapshot was left alone."""
        _log.warning("snapshot_unusable", reason=reason)

    def snapshot_failing(self, error: OSError) -> None:
        """Tell that the snapshot cannot be written."""
        _log.error("snapshot_failing", reason=errno.errorcode.get(error.errno or 0, "unknown"), **describe_error(error))

    def fleet_changed(self, replicas: int) -> None:
        """Tell how many replicas are heard."""
        _log.info("fleet_changed", replicas=replicas)

    def peers_failing(self, error: Exception) -> None:
        """Tell that peers could not be asked."""
        _log.warning("peers_failing", **describe_error(error))

    def peer_refuses(self, status: str) -> None:
        """Tell that a peer is there and does not answer what it is asked."""
        _log.warning("peer_refuses", reason=status)

    # -- gauges --------------------------------------------------------------------------------------------------------

    def observe(self, name: str, read: Callable[[], Iterable[tuple[float, dict[str, str]]]]) -> None:
        """Let a gauge, or a counter kept elsewhere, be read when metrics are collected, in any thread."""
        kind, unit, description, _ = METRICS[name]
        assert kind == "gauge" or name in READ_ELSEWHERE

        def callback(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, labels) for value, labels in read()]

        create = self._meter.create_observable_gauge if kind == "gauge" else self._meter.create_observable_counter
        create(name, [callback], unit, description)

    def shutdown(self) -> None:
        """Flush what is left, within ``FLUSH_SECONDS`` even where the collector is gone."""
        ends = [self._meters.shutdown] if self._spans is None else [self._meters.shutdown, self._spans.shutdown]
        flushing = [threading.Thread(target=_quietly, args=(end,), daemon=True) for end in ends]
        for thread in flushing:
            thread.start()
        last = time.monotonic() + FLUSH_SECONDS
        for thread in flushing:
            thread.join(max(0.0, last - time.monotonic()))
        if any(thread.is_alive() for thread in flushing):
            # OpenTelemetry's own time limits are not kept while an export retries. This ends the export.
            for exporter in self._exporters:
                _quietly(exporter.shutdown)


def _relations(spans: Sequence[object]) -> dict[str, Any]:
    """How a span of work done for several calls is tied to theirs."""
    # By id: a span context itself cannot be hashed.
    links = [trace.Link(s) for s in {s.span_id: s for s in spans if isinstance(s, trace.SpanContext)}.values()]
    # A child of the first call, so that a sampled trace shows it; the links name the others.
    parent = trace.set_span_in_context(trace.NonRecordingSpan(links[0].context)) if links else None
    return {"context": parent, "links": links}


def _quietly(end: Callable[[], None]) -> None:
    with suppress(Exception):  # what could not be sent is lost either way, and a shutdown goes on
        end()


def one_hot(mode: GuardMode, labels: dict[str, str]) -> list[tuple[float, dict[str, str]]]:
    """A state as one gauge per possible value."""
    return [(float(m is mode), {**labels, "mode": m.value}) for m in GuardMode]


def _resource(version: str) -> Resource:
    found = Resource.create({"service.version": version})
    named = not str(found.attributes.get("service.name", "unknown_service")).startswith("unknown_service")
    return found if named else found.merge(Resource({"service.name": "rankd"}))


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _wanted(signal: str) -> bool:
    if _disabled():
        return False
    exporters = [e.strip().lower() for e in os.environ.get(f"OTEL_{signal}_EXPORTER", "").split(",") if e.strip()]
    if exporters:
        return "otlp" in exporters
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in endpoints)


def _tracer_provider(resource: Resource, exporters: list[Any]) -> TracerProvider | None:
    if not _wanted("TRACES"):
        return None
    # Loaded only where it is used: it takes a tenth of a second.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporters.append(OTLPSpanExporter())
    provider.add_span_processor(BatchSpanProcessor(exporters[-1]))
    return provider


def _metric_readers(registry: CollectorRegistry, exporters: list[Any]) -> list[MetricReader]:
    readers: list[MetricReader] = [PrometheusMetricReader(registry=registry)]
    if _wanted("METRICS"):
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        exporters.append(OTLPMetricExporter())
        readers.append(PeriodicExportingMetricReader(exporters[-1]))
    return readers
