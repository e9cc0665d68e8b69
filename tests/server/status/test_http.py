"""Metrics, probes and the page beside gRPC, on real connections."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from rankd_client.v1 import completion_pb2
from support.wire import completion, completion_stub, item, rank_stub, request

from rankd.errors import ConfigError
from rankd.status import http
from rankd.status.http import HttpServer
from rankd.telemetry.catalogue import METRICS, PROCESS_METRICS


@pytest.fixture
def start():
    """Starts pages with a state of the test's own."""
    started = []

    def begin(snapshot=lambda: {"ready": True, "reason": "serving", "facts": {}}, address="127.0.0.1:0"):
        started.append(
            HttpServer(address, CollectorRegistry(), snapshot, lambda window, span: f"{window} {span}".encode())
        )
        return started[-1]

    yield begin
    for server in started:
        server.close()


def ask(server, raw, host="127.0.0.1"):
    """Send bytes; gives status, headers by lower-case name, and body."""
    with socket.create_connection((host, server.port), timeout=5) as connection:
        connection.sendall(raw)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {h.split(":")[0].lower(): h.split(": ", 1)[1] for h in headers}, body


def get(server, path, method="GET"):
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_probes_tell_ready_and_why_not(start):
    """Ready is 200, not ready is 503 with the reason; alive is 200 either way."""
    state = {"ready": True, "reason": "serving", "facts": {}}
    server = start(lambda: state)
    assert get(server, "/readyz")[0] == 200
    state |= {"ready": False, "reason": "draining"}
    status, headers, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reason": "draining"})
    assert headers["content-type"] == "application/json"
    assert get(server, "/livez")[0] == 200
    assert b"draining" in get(server, "/")[2]


def test_head_is_get_without_a_body(start):
    """HEAD gives the length of what GET would send."""
    server = start()
    _, headers, body = get(server, "/", "HEAD")
    assert body == b""
    assert int(headers["content-length"]) == len(get(server, "/")[2])


def test_nothing_but_get_and_head(start):
    """Other methods are refused, saying which are not."""
    server = start()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"):
        status, headers, _ = get(server, "/", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"<script> / HTTP/1.1\r\n\r\n",
        b"GET /<script>alert(1)</script> HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_not_repeated(start, raw):
    """An error page shows nothing of what was sent."""
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(raw)
        answer = connection.recv(65536)
    assert b"script" not in answer
    assert b"aaaa" not in answer
    assert b"200 OK" not in answer
    assert get(server, "/livez")[0] == 200


def test_a_bug_in_the_state_is_an_answer(start):
    """A probe gets 500 instead of a closed connection when the state cannot be read."""
    server = start(lambda: {}["sesame"])
    status, _, body = get(server, "/readyz")
    assert status == 500
    assert b"sesame" not in body
    assert get(server, "/livez")[0] == 200


def test_a_slow_client_is_cut_off(start, wait_until, monkeypatch):
    """A client that sends a byte now and then, so that it is never silent, does not keep its place for ever."""
    monkeypatch.setattr(http, "_LONGEST_CONNECTION", 0.5)
    monkeypatch.setattr(http, "_MOST_CONNECTIONS", 4)
    server = start()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    began = time.monotonic()
    try:
        while len(server._server._open) == 4 or time.monotonic() - began < 0.2:
            assert time.monotonic() - began < 60
            for connection in slow:
                connection.send(b"x")
            time.sleep(0.05)
    except OSError:
        pass  # cut off
    assert get(server, "/livez")[0] == 200
    wait_until(lambda: not server._server._open)
    for connection in slow:
        connection.close()


def test_idle_connections_do_not_keep_probes_out(start, monkeypatch):
    """Whoever holds every place without asking anything makes way for a probe that does, time and again."""
    monkeypatch.setattr(http._Handler, "timeout", 3600.0)  # none of them gives up by itself
    server = start()
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(http._MOST_CONNECTIONS)]
    for connection in idle[::2]:
        connection.sendall(b"GET /livez HTT")
    idle += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(http._MOST_CONNECTIONS // 2)]
    for _ in range(5):
        for path in ("/livez", "/readyz", "/metrics"):
            assert get(server, path)[0] == 200
    assert len(server._server._open) <= http._MOST_CONNECTIONS
    for connection in idle:
        connection.close()


def test_who_asked_is_answered_whoever_comes_after(start, monkeypatch, wait_until):
    """A request that is being answered keeps its place; where all places are, a further connection is refused."""
    monkeypatch.setattr(http, "_MOST_CONNECTIONS", 4)
    go_on = threading.Event()

    def snapshot():
        assert go_on.wait(10)
        return {"ready": True, "reason": "serving", "facts": {}}

    server = start(snapshot)
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(get, server, "/readyz") for _ in range(4)]
            connections = server._server._open
            wait_until(lambda: sum(c.requested for c in list(connections.values())) == 4)
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as further:
                assert further.recv(1) == b""
            go_on.set()
            assert [answer.result()[0] for answer in answers] == [200] * 4
    finally:
        go_on.set()
    assert get(server, "/livez")[0] == 200


def test_a_taken_port_names_the_setting(start):
    """A second daemon does not share the port silently."""
    server = start()
    with pytest.raises(ConfigError, match=r"metrics \(RANKD_METRICS\): cannot listen on"):
        start(address=f"127.0.0.1:{server.port}")
    with pytest.raises(ConfigError, match="metrics"):
        start(address="no-such-host.invalid:0")


def test_the_document_is_text_and_loads_from_its_own_daemon_only(start):
    """A served model's name, which a caller chooses, is text in it; the browser is told to load nothing else."""
    facts = {"tau <script>": "<img src=x>", "guard \u202e": "fallback"}
    server = start(lambda: {"ready": False, "reason": "<b>", "facts": facts})
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


def test_what_the_page_loads_is_served_with_its_type(start):
    """Style, script and icon come from the same server; a browser that may not guess types takes them."""
    server = start()
    for path, kind in (("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        status, headers, body = get(server, path)
        assert (status, headers["content-type"].split(";")[0], len(body) > 100) == (200, kind, True)
        assert headers["x-content-type-options"] == "nosniff"


def test_the_data_is_asked_for_by_window_and_span(start):
    """What is asked for is handed on; a span that there is none of, or too many parameters, are refused by name."""
    server = start()
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
            request(item("sesame-id", "sesame-prompt long"), item("b", "short")), timeout=5
        )
        reports = [completion(r.request_id, r.prediction.score, 7, answer.ranker_version) for r in answer.items]
        completion_stub(channel).ReportCompletions(
            completion_pb2.ReportCompletionsRequest(completions=reports), timeout=5
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
