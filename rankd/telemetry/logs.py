"""Logs: JSON lines on stderr with trace ids, or something to read on a terminal. No prompt gets in."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace

from rankd.telemetry.redaction import LOG_KEYS, describe_error
from rankd.text import printable

_OURS = frozenset({"event", "level", "timestamp", "trace_id", "span_id", "logger"})
_LONGEST_MESSAGE = 400
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
        describe_exception,
        only_declared_keys,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderers: list[Any] = (
        [escape_values, structlog.dev.ConsoleRenderer()] if console else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, drop_library_values, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # grpc logs an error for every stream that its caller cancelled; what matters of calls, the interceptor logs.
    logging.getLogger("grpc").setLevel(logging.CRITICAL)


def log_loose_ends() -> None:
    """Log what Python would write to stderr by itself: warnings, and exceptions that nobody caught.

    For a process that is a daemon and nothing else: hooks are of the whole process.
    """
    logging.captureWarnings(capture=True)
    log = structlog.get_logger("rankd")
    sys.excepthook = lambda _kind, error, _trace: log.error("internal_error", **describe_error(error))
    threading.excepthook = lambda loose: _log_loose(log, loose.exc_value)
    sys.unraisablehook = lambda loose: _log_loose(log, loose.exc_value)


def _log_loose(log: Any, error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        log.error("internal_error", **describe_error(error))


def add_trace_ids(_: object, __: str, event: EventDict) -> EventDict:
    """Add the ids of the current span, sampled or not: logs are searched by trace id even where no trace is kept."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def describe_exception(_: object, __: str, event: EventDict) -> EventDict:
    """Put type and frames in the place of an exception: its text, and local variables, may hold a prompt."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(describe_error(error))
    return event


def drop_library_values(_: object, __: str, event: EventDict) -> EventDict:
    """Keep of other libraries' messages what is written in their code; values could be anything.

    OpenTelemetry's values are kept, as they say which collector fails and how, and those of our own client, which hold
    nothing that anybody sent. Only first lines are: asyncio puts the text of exceptions into the second.
    """
    record = event.get("_record")
    if record is not None and record.name == "py.warnings":
        # "PATH:LINE: CATEGORY: TEXT", then the line of code; the text could hold anything.
        event["event"] = ": ".join(str(event["event"]).split(": ", 2)[:2])
    elif record is not None and not record.name.startswith(("opentelemetry", "rankd_client")):
        event["event"] = str(record.msg)
    lines = str(event["event"]).splitlines()
    event["event"] = lines[0][:_LONGEST_MESSAGE] if lines else ""
    return event


def escape_values(_: object, __: str, event: EventDict) -> EventDict:
    """Escape what would steer a terminal: a served model's name is the caller's. Only newer structlog does."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value)
    return event


def only_declared_keys(_: object, __: str, event: EventDict) -> EventDict:
    """Drop every key that telemetry does not declare: what is not declared was not reviewed for privacy."""
    for key in [k for k in event if k not in LOG_KEYS and k not in _OURS and not k.startswith("_")]:
        del event[key]
    return event
