"""Logs: JSON lines on stderr with trace ids, or something to read on a terminal. No prompt gets in."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace

from rankd.privacy import LOG_KEYS

_OURS = frozenset({"event", "level", "timestamp", "trace_id", "span_id", "logger"})
EventDict = MutableMapping[str, Any]


def configure_logs(level: str, log_format: Literal["auto", "json", "console"], stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging through it.

    Args:
        level: least severe level that is written.
        log_format: ``auto`` writes for people on a terminal, JSON elsewhere.
        stream: default: stderr.
    """
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace_ids,
        only_declared_keys,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # grpc logs tracebacks with the values of exceptions in them; ours are logged by describe_error.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def add_trace_ids(_: object, __: str, event: EventDict) -> EventDict:
    """Add the ids of the current span, sampled or not (protocol.md, trap 7)."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def only_declared_keys(_: object, __: str, event: EventDict) -> EventDict:
    """Drop every key that telemetry does not declare: what is not declared was not judged for privacy."""
    for key in [k for k in event if k not in LOG_KEYS and k not in _OURS and not k.startswith("_")]:
        del event[key]
    return event
