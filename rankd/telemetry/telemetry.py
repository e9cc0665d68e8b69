"""Every metric, span and log event of the daemon, declared once, with the calls that rooms make.

Rooms pass plain values and import nothing of OpenTelemetry. Providers belong to one daemon, not to the process, so
that two daemons in one process (as in tests) do not mix.

Export follows the standard variables: ``OTEL_TRACES_EXPORTER``/``OTEL_METRICS_EXPORTER`` say ``otlp`` or ``none``;
where they are not set, OTLP (over gRPC) is on where ``OTEL_EXPORTER_OTLP_ENDPOINT``, or the one for traces or metrics,
is set. docs/reference/telemetry.md is written from the tables here.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from rankd.telemetry.catalogue import FROM_ZERO, METRICS, READ_ELSEWHERE, SECOND_BUCKETS, SIZE_BUCKETS
from rankd.telemetry.providers import make_metric_readers, make_resource, make_tracer_provider, sdk_disabled
from rankd.telemetry.redaction import describe_error
from rankd.telemetry.stages import StageTimes
from rankd.types import GuardMode, Reason

_log = structlog.get_logger("rankd")

FLUSH_SECONDS = 3.0
"""What a shutdown spends on telemetry, whatever the collector does."""


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
        resource = make_resource(version)
        self.registry = registry or CollectorRegistry()
        if not sdk_disabled():
            ProcessCollector(registry=self.registry)
        self._exporters: list[Any] = []
        self._spans = make_tracer_provider(resource, self._exporters)
        self.recording = self._spans is not None
        self.tracer = (self._spans or trace.NoOpTracerProvider()).get_tracer("rankd", version)
        self._meters = MeterProvider(
            metric_readers=make_metric_readers(self.registry, self._exporters),
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
        self.stages = StageTimes()
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
