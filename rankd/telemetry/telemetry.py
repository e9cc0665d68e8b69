"""The calls that report what happens: metrics, spans and log events, all declared in ``catalogue``.

Callers pass plain values and import nothing of OpenTelemetry. Providers belong to one daemon, not to the process, so
that two daemons in one process (as in tests) do not mix.

Export follows the standard variables: ``OTEL_TRACES_EXPORTER``/``OTEL_METRICS_EXPORTER`` say ``otlp`` or ``none``;
where they are not set, OTLP is on where ``OTEL_EXPORTER_OTLP_ENDPOINT``, or the one for traces or metrics, is set.
What of the variables cannot be had is done without, and logged.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry
from rankd_client import Placed

from rankd.telemetry.environment import mend_environment
from rankd.telemetry.instruments import Instruments
from rankd.telemetry.providers import flush, make_metric_readers, make_resource, make_tracer_provider, sdk_disabled
from rankd.telemetry.readings import Readings
from rankd.telemetry.redaction import describe_error
from rankd.telemetry.stages import StageTimes
from rankd.types import Reason

_log = structlog.get_logger("rankd")

FLUSH_SECONDS = 3.0
"""What a shutdown spends on telemetry, whatever the collector does."""


_RANK = "rankd.v1.RankService/Rank"
_SCORED, _ECHOED = (("outcome", "scored"),), (("outcome", "echoed"),)
# By identity: there may be ten thousand to count, and hashing a member of an enum is a call into Python.
_UNSCORED = {id(reason): (("outcome", reason.value),) for reason in Reason}


class Telemetry:
    """What all parts of the daemon report to. Cheap where nothing is exported: spans are then not even recorded."""

    def __init__(self, version: str, *, registry: CollectorRegistry | None = None) -> None:
        """Build the providers of one daemon from the OTEL_* variables.

        Args:
            version: of the service.
            registry: where Prometheus metrics are collected; default: one of its own.
        """
        usable = mend_environment()
        resource = make_resource(version)
        self.registry = registry or CollectorRegistry()
        if not sdk_disabled():
            ProcessCollector(registry=self.registry)
        self._exporters: list[Any] = []
        self._spans = make_tracer_provider(resource, self._exporters, usable)
        self.recording = self._spans is not None
        self.tracer = (self._spans or trace.NoOpTracerProvider()).get_tracer("rankd", version)
        readings = Readings()
        readers = make_metric_readers(self.registry, self._exporters, readings, usable)
        self._instruments = Instruments(version, resource, readers, readings, exemplars=self.recording)
        self._counts, self._histograms = self._instruments.counts, self._instruments.histograms
        self._stage_duration = self._histograms["rankd.stage.duration"]
        self._call_duration = self._histograms["rpc.server.call.duration"]
        self.stages = StageTimes()
        for variable, reason in usable.unusable.items():
            _log.warning("telemetry_variable_unusable", setting=variable, reason=reason)

    def counted(self, name: str) -> list[tuple[dict[str, str], int]]:
        """A counter's values since the start, by labels. May be called in any thread."""
        return self._instruments.counted(name)

    def observe(self, name: str, read: Callable[[], Iterable[tuple[float, dict[str, str]]]]) -> None:
        """Let a gauge, or a counter kept elsewhere, be read when metrics are collected, in any thread."""
        self._instruments.observe(name, read)

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
        """A span that has an exception's type only: OpenTelemetry would add its text, which may hold a prompt."""
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
        self._stage_duration(seconds, (("stage", name),))

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
        self._histograms["rankd.batch.prompts"](prompts, ())
        self._histograms["rankd.batch.tokens"](padded, ())
        self._counts["rankd.batch.padding"][()] += padded - tokens
        self.stage_seconds("infer", seconds)

    def batch_failed(self, error: BaseException | None) -> None:
        """Count a batch, or a chunk to encode, that failed, and say so."""
        self._counts["rankd.batch.failures"][()] += 1
        _log.error("scoring_failed", **(describe_error(error) if error is not None else {}))

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call(self, method: str, status: str, seconds: float, error_type: str | None) -> None:
        """Count a call that ended."""
        labels = ("rpc.system.name", "grpc"), ("rpc.method", method), ("rpc.response.status_code", status)
        self._call_duration(seconds, labels if error_type is None else (*labels, ("error.type", error_type)))
        if method == _RANK:
            self.stages.add("call", seconds)

    def rate_limited(self) -> None:
        """Count a call that was refused for its rate."""
        self._counts["rankd.rate_limited"][()] += 1

    def refused(self, reason: str) -> None:
        """Count a call that was refused for its credential, or a prediction that could not be verified."""
        self._counts["rankd.auth.refused"][(("reason", reason),)] += 1

    def answer(self, policy: str, reason: str) -> None:
        """Count a Rank answer."""
        self._counts["rankd.answers"][("policy", policy), ("reason", reason)] += 1

    def items(self, *, scored: int, echoed: int, unscored: Collection[Reason]) -> None:
        """Count the items of an answer."""
        items = self._counts["rankd.items"]
        if scored:
            items[_SCORED] += scored
        if echoed:
            items[_ECHOED] += echoed
        if unscored:
            for identity, number in Counter(map(id, unscored)).items():
                items[_UNSCORED[identity]] += number

    def completion(self, outcome: str, *, final: bool) -> None:
        """Count a report, of a request that ended or of one under way: accepted, duplicate, or why it was rejected."""
        self._counts["rankd.completions"][("kind", "final" if final else "progress"), ("outcome", outcome)] += 1

    def accepted_reports(self) -> tuple[int, int]:
        """Completions, and progress reports, accepted since the start. May be called in any thread."""
        kinds = Counter[str]()
        for labels, number in self.counted("rankd.completions"):
            if labels["outcome"] == "accepted":
                kinds[labels["kind"]] += number
        return kinds["final"], kinds["progress"]

    def placed(self, placed: Placed) -> None:
        """Count requests that engines' plug-ins and proxies placed."""
        counts = self._counts["rankd.engine.placed"]
        for outcome, number in (
            ("ranked", placed.ranked),
            ("too_late", placed.too_late),
            ("unreachable", placed.unreachable),
            ("other", placed.other),
        ):
            if number:
                counts[(("outcome", outcome),)] += number

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
        """Report a guard's change: log event, metric and an event in a span of its own.

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

    def adaptation_switched(self, *, model: str, ranker_version: str, to: str) -> None:
        """Report that learned scores order from now on, or the ranker's own."""
        self._counts["rankd.adaptation.switches"][(("to", to),)] += 1
        _log.info("adaptation_switched", model=model, ranker_version=ranker_version, to=to)

    def pilot_changed(self, *, model: str, state: str, reason: str, blocks: int) -> None:
        """Report a pilot's beginning, its start and its end."""
        _log.info("pilot_changed", model=model, state=state, reason=reason, blocks=blocks)

    def shadow_started(self, ranker_version: str) -> None:
        """Report a shadow's beginning."""
        _log.info("shadow_started", ranker_version=ranker_version)

    def shadow_stopped(self, ranker_version: str, prompts: int, completions: int) -> None:
        """Report a shadow's end."""
        _log.info("shadow_stopped", ranker_version=ranker_version, prompts=prompts, completions=completions)

    def compared(
        self,
        *,
        ranker_version: str,
        previous: str,
        verdict: str,
        evidence: str,
        completions: int,
        bounds: tuple[float, float, float] | None,
    ) -> None:
        """Report two rankers compared; ``bounds`` are the difference in tau, and its interval."""
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
        """Report that rows of the completion log are not written."""
        code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
        about = describe_error(error) if error is not None else {}
        _log.error("completion_log_failing", reason=f"{reason}: {code}" if code else reason, **about)

    def completion_log_recovered(self) -> None:
        """Report that they are again."""
        _log.info("completion_log_recovered")

    def snapshot_restored(self, windows: int, completions: int) -> None:
        """Report what a snapshot brought back."""
        _log.info("snapshot_restored", windows=windows, completions=completions)

    def snapshot_unusable(self, reason: str) -> None:
        """Report that a snapshot was left alone."""
        _log.warning("snapshot_unusable", reason=reason)

    def snapshot_failing(self, error: OSError | ValueError) -> None:
        """Report that the snapshot cannot be written."""
        number = error.errno if isinstance(error, OSError) else None
        _log.error("snapshot_failing", reason=errno.errorcode.get(number or 0, "unknown"), **describe_error(error))

    def snapshot_window_left_out(self) -> None:
        """Report that some window is not in the snapshot."""
        _log.error("snapshot_window_left_out")

    def fleet_changed(self, replicas: int) -> None:
        """Report how many replicas are heard."""
        _log.info("fleet_changed", replicas=replicas)

    def peers_failing(self, error: Exception) -> None:
        """Report that peers could not be asked."""
        _log.warning("peers_failing", **describe_error(error))

    def peer_refuses(self, status: str) -> None:
        """Report that a peer is there and does not answer what it is asked."""
        _log.warning("peer_refuses", reason=status)

    def peer_has_other_key(self) -> None:
        """Report that what a peer tells cannot be learned from, nor what is told to it."""
        _log.warning("peer_has_other_key", setting="adapt.key")

    def shutdown(self) -> None:
        """Flush what is left, within ``FLUSH_SECONDS`` even where the collector is gone."""
        spans = [] if self._spans is None else [self._spans.shutdown]
        flush([self._instruments.shutdown, *spans], self._exporters, FLUSH_SECONDS)


def _relations(spans: Sequence[object]) -> dict[str, Any]:
    """How a span of work done for several calls is tied to theirs."""
    # By id: a span context itself cannot be hashed.
    links = [trace.Link(s) for s in {s.span_id: s for s in spans if isinstance(s, trace.SpanContext)}.values()]
    # A child of the first call, so that a sampled trace shows it; the links name the others.
    parent = trace.set_span_in_context(trace.NonRecordingSpan(links[0].context)) if links else None
    return {"context": parent, "links": links}
