"""Declarations, privacy of logs, and the documentation made from them."""

import io
import json
from pathlib import Path

import pytest
import structlog
from prometheus_client import generate_latest

from rankd.logs import configure_logs
from rankd.privacy import describe_error
from rankd.telemetry import EVENTS, METRICS, SPANS, Telemetry
from rankd.types import Reason

DOC = Path(__file__).parents[2] / "docs" / "telemetry.md"


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
        line.split("{")[0] + "".join(w for w in ("scored", "echoed", "deadline") if f'outcome="{w}"' in line): float(
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
    assert event["frames"][0].startswith("test_telemetry.py:")


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


@pytest.mark.parametrize("name", [*METRICS, *SPANS, *EVENTS])
def test_everything_declared_is_documented(name):
    """docs/telemetry.md names every metric, span and event, with the description of its declaration."""
    description = METRICS[name][2] if name in METRICS else SPANS.get(name) or EVENTS[name]
    assert f"| `{name}` |" in DOC.read_text(encoding="utf-8")
    assert description in DOC.read_text(encoding="utf-8")
