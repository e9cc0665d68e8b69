"""Metrics, probes and the page beside gRPC, on real connections."""

import json
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rankd_client.v1 import completion_pb2
from support.page_server import READY, get
from support.wire import completion, completion_stub, item, rank_stub, request

from rankd.errors import ConfigError
from rankd.telemetry.catalogue import METRICS, PROCESS_METRICS


def test_probes_tell_ready_and_why_not(start_page):
    """Ready is 200, not ready is 503 with the reason; alive is 200 either way."""
    state = dict(READY)
    server = start_page(lambda: state)
    assert get(server, "/readyz")[0] == 200
    state |= {"ready": False, "reason": "draining"}
    status, headers, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reason": "draining"})
    assert headers["content-type"] == "application/json"
    assert get(server, "/livez")[0] == 200
    assert b"draining" in get(server, "/")[2]


def test_head_is_get_without_a_body(start_page):
    """HEAD gives the length of what GET would send."""
    server = start_page()
    _, headers, body = get(server, "/", "HEAD")
    assert body == b""
    assert int(headers["content-length"]) == len(get(server, "/")[2])


def test_nothing_but_get_and_head(start_page):
    """Other methods are refused, saying which are not."""
    server = start_page()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"):
        status, headers, _ = get(server, "/", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_bug_in_the_state_is_an_answer(start_page):
    """A probe gets 500 instead of a closed connection when the state cannot be read."""
    server = start_page(lambda: {}["sesame"])
    status, _, body = get(server, "/readyz")
    assert status == 500
    assert b"sesame" not in body
    assert get(server, "/livez")[0] == 200


def test_a_taken_port_names_the_setting(start_page):
    """A second daemon does not share the port silently."""
    server = start_page()
    with pytest.raises(ConfigError, match=r"metrics \(RANKD_METRICS\): cannot listen on"):
        start_page(address=f"127.0.0.1:{server.port}")
    with pytest.raises(ConfigError, match="metrics"):
        start_page(address="no-such-host.invalid:0")


def test_the_document_is_text_and_loads_from_its_own_daemon_only(start_page):
    """A served model's name, which a caller chooses, is text in it; the browser is told to load nothing else."""
    facts = {"tau <script>": "<img src=x>", "guard \u202e": "fallback"}
    server = start_page(lambda: {"ready": False, "reason": "<b>", "facts": facts})
    _, headers, body = get(server, "/")
    text = body.decode()
    assert "tau &lt;script&gt;" in text
    assert "not ready: &lt;b&gt;" in text
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "\u202e" not in text
    assert "//" not in text.replace("<!DOCTYPE html>", "")  # no address of anything else
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == policy.pop("frame-ancestors") == policy.pop("base-uri") == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert "unsafe" not in headers["content-security-policy"]


def test_what_the_page_loads_is_served_with_its_type(start_page):
    """Style, script and icon come from the same server; a browser that may not guess types takes them."""
    server = start_page()
    for path, kind in (("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        status, headers, body = get(server, path)
        assert (status, headers["content-type"].split(";")[0], len(body) > 100) == (200, kind, True)
        assert headers["x-content-type-options"] == "nosniff"


def test_the_data_is_asked_for_by_window_and_span(start_page):
    """What is asked for is handed on; a span that there is none of, or too many parameters, are refused by name."""
    server = start_page()
    assert get(server, "/status.json")[2] == b" short"
    assert get(server, "/status.json?window=a1&span=long&x=1")[2] == b"a1 long"
    assert get(server, "/status.json?span=week")[::2] == (400, b"span: must be short or long\n")
    assert get(server, "/status.json?" + "&".join(["x=1"] * 9))[::2] == (400, b"at most 8 parameters\n")
    status, headers, body = get(server, "/status.json", "HEAD")
    assert (status, headers["content-type"], body) == (200, "application/json", b"")
    assert get(server, "/status.json", "POST")[0] == 405


def test_metrics_have_only_declared_names_and_labels(start_daemon):
    """After traffic of all kinds, what Prometheus reads is what docs/reference/telemetry.md lists, in both formats."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        answer = rank_stub(channel).Rank(
            request(item("sesame-id", "sesame-prompt long"), item("b", "short")), timeout=30
        )
        reports = [completion(r.request_id, r.prediction.score, 7, answer.ranker_version) for r in answer.items]
        completion_stub(channel).ReportCompletions(
            completion_pb2.ReportCompletionsRequest(completions=reports), timeout=30
        )
    declared = {name: (kind, set()) for name, (kind, _) in PROCESS_METRICS.items()}
    for name, metric in METRICS.items():
        suffix = "_seconds" if metric.unit == "s" else ""
        names = {label.replace(".", "_") for label in metric.labels}
        declared[name.replace(".", "_") + suffix] = (metric.kind, names)
    text = urlopen(daemon.http + "/metrics").read().decode()
    assert "sesame" not in text
    families = [f for f in text_string_to_metric_families(text) if f.name != "target_info" and f.samples]
    assert len(families) > 10
    for family in families:
        kind, names = declared[family.name]
        assert family.type == kind
        for sample in family.samples:
            assert {k for k in sample.labels if not k.startswith("otel_scope")} - {"le"} <= names, sample
