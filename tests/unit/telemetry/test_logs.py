"""Logs: privacy of what is written, trace ids, and the two formats."""

import io
import json
import logging

import pytest
import structlog
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from rankd.telemetry.logs import configure_logs
from rankd.telemetry.redaction import describe_error

SECRET = "sesame-prompt"


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Tests of other files find logging as it was."""
    root = logging.getLogger()
    handlers, level, grpc_level = root.handlers[:], root.level, logging.getLogger("grpc").level
    before = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("grpc").setLevel(grpc_level)
    structlog.configure(**before)


@pytest.fixture
def lines():
    """Gives the events that were logged since the last time."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)

    def read():
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        assert SECRET not in text
        return [json.loads(line) for line in text.splitlines()]

    return read


def failure():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        return error


def test_only_declared_keys_reach_a_log():
    """A key that nobody judged for privacy is dropped, and an error is described without its text."""
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    try:
        raise ValueError("secret prompt")
    except ValueError as error:
        structlog.get_logger("rankd").error(
            "internal_error", prompt="secret prompt", method="m", **describe_error(error)
        )
    event = json.loads(stream.getvalue())
    assert "secret" not in stream.getvalue()
    assert (event["event"], event["method"], event["error_type"]) == ("internal_error", "m", "ValueError")
    assert event["frames"][0].startswith("test_logs.py:")


def test_console_format_is_for_people():
    """On request, lines to read instead of JSON."""
    stream = io.StringIO()
    configure_logs("info", "console", stream)
    structlog.get_logger("rankd").info("started", listen="127.0.0.1:1")
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_level_is_a_setting():
    """Below the level nothing is written."""
    stream = io.StringIO()
    configure_logs("error", "json", stream)
    structlog.get_logger("rankd").info("started")
    assert stream.getvalue() == ""


def test_an_exception_is_logged_as_type_and_frames(lines):
    """However a room passes an exception on, its text and its variables stay out."""
    log = structlog.get_logger("rankd")
    log.error("internal_error", exc_info=failure())
    try:
        raise failure()
    except ValueError:
        log.exception("internal_error")
    for event in lines():
        assert event["error_type"] == "ValueError"
        assert any("failure" in frame for frame in event["frames"])


def test_libraries_log_without_their_values(lines):
    """Messages of other libraries keep what is written in their code; exceptions are described."""
    logging.getLogger("some.lib").error("could not read %s", SECRET, exc_info=failure())
    told = (
        f"Task exception was never retrieved\nfuture: <Task ValueError('{SECRET}')>"  # put together by asyncio itself
    )
    logging.getLogger("asyncio").error(told)
    logging.getLogger("opentelemetry.exporter").warning("Failed to export to %s", "collector:4317")
    library, loop, collector = lines()
    assert (library["event"], library["logger"]) == ("could not read %s", "some.lib")
    assert library["error_type"] == "ValueError"
    assert loop["event"] == "Task exception was never retrieved"
    assert collector["event"] == "Failed to export to collector:4317"


@pytest.mark.parametrize("flags", [TraceFlags.DEFAULT, TraceFlags.SAMPLED])
def test_trace_ids_are_there_sampled_or_not(lines, flags):
    """The recipe in structlog's documentation loses the ids of unsampled spans."""
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(flags)))
    token = context.attach(trace.set_span_in_context(span))
    try:
        structlog.get_logger("rankd").info("started")
    finally:
        context.detach(token)
    structlog.get_logger("rankd").info("started")
    within, without = lines()
    assert within["trace_id"] == f"{0xABC:032x}"
    assert within["span_id"] == f"{0xDEF:016x}"
    assert "trace_id" not in without


def test_the_console_is_not_written_to_by_callers():
    """A served model's name, which a caller chooses, neither colours nor breaks lines."""
    stream = io.StringIO()
    configure_logs("info", "console", stream)
    structlog.get_logger("rankd").info("guard_changed", model="x\x1b[2J\nstarted")
    assert "\x1b[2J" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1
