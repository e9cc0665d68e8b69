"""What may stand in a request to the metrics port, by RFC 9110 and 9112, and what may not."""

import gzip
import re

import pytest
from prometheus_client import CollectorRegistry, Gauge
from support.page_server import ask, get


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\xff\xfe\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /sesame\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nsesame\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", 431),
        (b"<script> / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_what_is_no_request_is_refused_and_not_repeated(start_page, raw, status):
    """With a status that says what is wrong; an error page shows nothing of what was sent."""
    server = start_page()
    code, _, body = ask(server, raw)
    assert code == status
    assert not re.search(rb"script|aaaa|sesame", body)
    assert get(server, "/livez")[0] == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET http://other.example:1/livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET HTTP://x/status.json?span=week HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /livez?http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 405),
        (b"M-SEARCH /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000, 405),
        (b"GET //livez HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /%6civez HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_unusual_requests_get_the_answer_of_the_standard(start_page, raw, status):
    """All forms of a target, old clients, other methods, and bodies that nobody asked for."""
    assert ask(start_page(), raw)[0] == status


@pytest.mark.parametrize("name", ["Accept", "Accept-Encoding", "User-Agent", "X-Any", "Host", "Cookie"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/", "/status.json?window=%ff%fe&span=short"])
def test_bytes_over_127_in_a_header_are_no_fault(start_page, name, path):
    """Any client may send them (RFC 9110, 5.5): alone, as UTF-8, between what is known, and beside more of its name."""
    server = start_page()
    for value in (b"\xff", "text/plain, \u20ac".encode(), b"application/openmetrics-text; version=\xe9", b"gzip\x80"):
        head = b"" if name == "Host" else b"Host: x\r\n%s: */*\r\n" % name.encode()
        raw = b"GET %s HTTP/1.1\r\n%s%s: %s\r\n\r\n" % (path.encode(), head, name.encode(), value)
        assert ask(server, raw)[0] == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
        ("application/openmetrics-text; version=no.number; escaping=\xa7", "application/openmetrics-text"),
        ("application/openmetrics-text; version=999999999999999999999.1", "application/openmetrics-text"),
        ("text/plain; version=x", "text/plain; version=0.0.4"),
    ],
)
def test_metrics_come_in_the_format_that_is_asked_for(start_page, accept, kind):
    """Whatever the version is said to be."""
    raw = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode("latin-1")
    status, headers, _ = ask(start_page(), raw)
    assert status == 200
    assert headers["content-type"].startswith(kind)


def test_metrics_are_zipped_for_who_takes_it(start_page):
    """As Prometheus does; others get them plain."""
    registry = CollectorRegistry()
    Gauge("some", "Some.", registry=registry).set(1)
    server = start_page(registry=registry)
    raw = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {}\r\n\r\n"
    _, headers, body = ask(server, raw.format("deflate, GZIP;q=0.8").encode())
    assert headers["content-encoding"] == "gzip"
    assert b"some 1.0" in gzip.decompress(body)
    for refused in ("identity", "gzip;q=0", "x-gzip-not"):
        _, headers, body = ask(server, raw.format(refused).encode())
        assert "content-encoding" not in headers
        assert b"some 1.0" in body
