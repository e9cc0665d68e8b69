"""What `rankd proxy` reports of answers that it saw, and that nothing of them is told elsewhere."""

import gzip
import json
import zlib

import pytest
from rankd_client import RankClient
from support.fake_engine import EVENTS, post, run, streamed, whole, within

from rankd.proxy.reporting import WITHOUT_USAGE

SHORT, LONG = "a short answer", "a long long long answer"


PATHS = ["/v1/completions", "/v1/chat/completions", "/v1/responses"]


ANSWER = json.dumps({"choices": [{"text": "ü", "finish_reason": "length"}], "usage": {"completion_tokens": 5}}).encode()


def test_lengths_are_reported_from_usage(start_engine, start_daemon, start_proxy):
    """Of streams and whole answers; the daemon takes them, and knows what was cut and what was not."""
    daemon = start_daemon()
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target)

    async def story():
        await post(proxy.port, {"prompt": SHORT, "stream": True})
        upstream.answer = whole(ANSWER)
        await post(proxy.port, {"prompt": SHORT})
        await post(proxy.port, {"prompt": SHORT, "ignore_eos": True, "max_tokens": 5})
        upstream.answer = streamed(EVENTS[:2] + EVENTS[3:])
        await post(proxy.port, {"prompt": SHORT, "stream": True})
        await post(proxy.port, {"prompt": SHORT, "n": 2})

    put = proxy.server._reporter.put
    reports = []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))
    run(story())
    assert [(r.output_tokens, r.finish_reason, r.length_is_complete) for r in reports] == [
        (7, "stop", False), (5, "length", False), (5, "length", True)
    ]  # fmt: skip
    assert all(r.queue_seconds is None and 0 < r.total_seconds < 5 for r in reports)
    within(lambda: proxy.counts("reports") == {"accepted": 3, "no_usage": 1, "several": 1})


def test_progress_is_reported_once_lengths_are(start_engine, start_daemon, start_proxy):
    """Of what waits and runs, with what came of it so far: the daemon takes it, and the length at the end."""
    daemon = start_daemon()
    upstream = start_engine(whole(ANSWER))
    proxy = start_proxy(upstream, daemon.target, progress_every=0.2)
    run(post(proxy.port, {"prompt": SHORT}))
    within(lambda: proxy.counts("reports") == {"accepted": 1})
    upstream.answer = streamed([EVENTS[0]] * 8 + [EVENTS[1], EVENTS[2].replace(b":7,", b":9,")], pause=0.1)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))
    run(post(proxy.port, {"prompt": LONG, "stream": True}))
    tokens = [r.output_tokens for r in reports]
    assert {r.finish_reason for r in reports[:-1]} == {"in_progress"}
    assert tokens == sorted(tokens)
    assert len(tokens) > 3
    assert (reports[-1].finish_reason, tokens[-1]) == ("stop", 9)
    within(lambda: proxy.counts("reports") == {"accepted": 1 + len(reports)})


def test_nothing_that_was_sent_is_in_logs_or_metrics(start_engine, start_proxy, capfd):
    """Prompts, keys, paths and answers, in good requests and in bad ones."""
    upstream = start_engine()
    proxy = start_proxy(upstream)

    async def story():
        fields = [(b"Authorization", b"Bearer sekret"), (b"X-Request-Id", b"sekret-id")]
        await post(proxy.port, {"prompt": "sekret short"}, fields=fields)
        await post(proxy.port, b'{"prompt": "sekret', fields=fields)
        await post(proxy.port, b"x", b"/sekret?sekret=1", fields=[*fields, (b"X-Bad", b"sekret\xff")])
        upstream.answer = whole(b"sekret", b"HTTP/1.1 999999 sekret\r\n")
        await post(proxy.port, {"prompt": "sekret short"}, fields=fields)
        upstream.close()
        await post(proxy.port, {"prompt": "sekret short"}, fields=fields)
        return await post(proxy.metrics_port, b"", b"/metrics", method=b"GET")

    _, _, page = run(story())
    assert b"rankd_proxy_requests_total" in page
    within(lambda: proxy.counts("answers") == {"2xx": 2, "refused": 1, "upstream_broken": 1, "upstream_unreachable": 1})
    out, err = capfd.readouterr()
    assert "sekret" not in page.decode() + out + err


def compressed(body, coding, packer, head=b"application/json"):
    """Answers that are compressed for whoever takes that coding, and the bytes that were sent."""

    async def answer(seen, _reader, writer):
        takes = coding in b"".join(seen.values(b"accept-encoding"))
        data = packer(body) if takes else body
        field = b"Content-Encoding: %s\r\n" % coding if takes else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s" % (head, field))
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        await writer.drain()

    return answer


def deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return b"".join(packer.compress(data[n : n + 9]) + packer.flush(zlib.Z_SYNC_FLUSH) for n in range(0, len(data), 9))


def gzipped(data):
    """Without the time in it: packed again it is the same."""
    return gzip.compress(data, mtime=0)


def broken(data):
    return gzipped(data)[:40] + b"damage"


ASKED = {"prompt": SHORT, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("coding", "packer", "counts"),
    [
        (b"gzip", gzipped, {"accepted": 1}),
        (
            b"gzip",
            lambda data: b"".join(gzipped(data[n : n + 50]) for n in range(0, len(data), 50)),
            {"accepted": 1},
        ),
        (b"deflate", deflated, {"accepted": 1}),
        (b"gzip", broken, {"no_usage": 1}),
        (b"br", gzipped, {"accepted": 1}),
    ],
    ids=["gzip", "members", "flushed", "broken", "br"],
)
def test_compressed_answers_are_read_along(start_engine, start_proxy, stream, coding, packer, counts):
    """Every byte goes to the client as it came, and the engine is not asked for what cannot be read."""
    body, kind = (b"".join(EVENTS), b"text/event-stream") if stream else (ANSWER, b"application/json")
    proxy = start_proxy(start_engine(compressed(body, coding, packer, kind)))
    fields = [(b"Accept-Encoding", b"gzip, deflate, br")]
    _, _, answer = run(post(proxy.port, ASKED | {"stream": stream}, fields=fields))
    assert answer == (body if coding == b"br" else packer(body))
    within(lambda: proxy.counts("reports") == counts)
    assert sum(proxy.counts("no_usage", "cause").values()) == counts.get("no_usage", 0)


def test_a_bomb_passes_and_is_not_read(start_engine, start_proxy):
    """A hundred megabytes in a hundred kilobytes: the client gets them as they came."""
    bomb = gzip.compress(b"data: {}\n\n" * 10_000_000, 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    proxy = start_proxy(start_engine(whole(bomb, head)), asking={"max_body_bytes": 100_000})
    assert run(post(proxy.port, ASKED))[2] == bomb
    within(lambda: proxy.counts("no_usage", "cause") == {"too_large": 1})


@pytest.mark.parametrize(
    ("answer", "body", "cause"),
    [
        (streamed([EVENTS[1], EVENTS[3]]), {"prompt": SHORT, "stream": True}, "not_asked"),
        (streamed([EVENTS[1], EVENTS[3]]), ASKED | {"stream": True}, "not_sent"),
        (streamed([EVENTS[0]]), ASKED | {"stream": True}, "ended_early"),
        (whole(b'{"choices": []}'), {"prompt": SHORT}, "not_sent"),
        (whole(b"<html>"), {"prompt": SHORT}, "not_json"),
        (whole(b'{"pad": "%s"}' % (b"x" * 20_000)), {"prompt": SHORT}, "too_large"),
        (whole(ANSWER, b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n"), {"prompt": SHORT}, "coding_unknown"),
        (whole(ANSWER, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"), {"prompt": SHORT}, "coding_broken"),
    ],
)
def test_why_a_length_is_missing_is_counted_and_said_once(start_engine, start_proxy, capfd, answer, body, cause):
    """By its true cause, with the remedy for that."""
    proxy = start_proxy(start_engine(answer), asking={"max_body_bytes": 10_000})
    for _ in range(2):
        run(post(proxy.port, body))
    within(lambda: proxy.counts("no_usage", "cause") == {cause: 2})
    assert proxy.counts("reports") == {"no_usage": 2}
    said = "".join(capfd.readouterr())
    assert said.count("answers_without_usage") == 1
    assert WITHOUT_USAGE[cause] in said


@pytest.mark.parametrize(
    ("reason", "tokens", "finish"),
    [
        ("stop", 5, "stop"), ("STOP", 5, "stop"), ("eos_token", 5, "stop"), ("COMPLETE", 5, "stop"),
        (None, 5, "stop"), ("", 5, "stop"), (None, 9, "length"), ("", 9, "length"),
        ("MAX_TOKENS", 9, "length"), ("SAFETY", 5, "aborted"), ("because", 5, "aborted"), ("in_progress", 5, "aborted"),
    ],
)  # fmt: skip
def test_finish_reasons_are_those_of_training(start_engine, start_daemon, start_proxy, reason, tokens, finish):
    """In any case; an unknown one is a bound, and counted; none at all is an answer that is whole below its limit."""
    said = {"choices": [{"finish_reason": reason}], "usage": {"completion_tokens": tokens}}
    streaming = [b"data: %s\n\n" % json.dumps(said).encode(), b"data: [DONE]\n\n"]
    upstream = start_engine(whole(json.dumps(said).encode()))
    proxy = start_proxy(upstream, start_daemon().target)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))
    run(post(proxy.port, {"prompt": SHORT, "max_tokens": 9}))
    upstream.answer = streamed(streaming)
    run(post(proxy.port, ASKED | {"max_tokens": 9, "stream": True}))
    assert [(r.output_tokens, r.finish_reason) for r in reports] == [(tokens, finish)] * 2
    within(lambda: proxy.counts("reports") == {"accepted": 2})
    assert proxy.counts("endings", "ending").get("unknown", 0) == 2 * (reason == "because")


def test_models_are_ranked_reported_and_counted_by_their_names(start_engine, start_daemon, start_proxy):
    """Those that the engine serves, at most so many; others share a name, and the made-up ones leave none."""

    async def answer(seen, reader, writer):
        served = json.loads(seen.body).get("model") != "made up"
        body = ANSWER if served else b"{}"
        await whole(body, b"HTTP/1.1 %s\r\n" % (b"200 OK" if served else b"404 Not Found"))(seen, reader, writer)

    daemon = start_daemon()
    proxy = start_proxy(start_engine(answer), daemon.target, max_models=2)
    for model in ("a", "b", "made up", "a", "c", None):
        run(post(proxy.port, {"prompt": SHORT, "model": model}))
    within(lambda: proxy.counts("reports") == {"accepted": 5})
    assert proxy.counts("model_requests", "model") == {"a": 2, "b": 1, "other": 3}
    with RankClient(daemon.target) as client:
        completions = {m.model: m.completions for m in client.quality().qualities if m.completions}
    assert completions == {"a": 2, "b": 1, "": 2}


def test_one_name_for_all_goes_before_those_of_bodies(start_engine, start_daemon, start_proxy):
    """As before: RANKD_MODEL names what is served."""
    daemon = start_daemon()
    proxy = start_proxy(start_engine(whole(ANSWER)), daemon.target, asking={"model": "mine"})
    for model in ("a", "b"):
        run(post(proxy.port, {"prompt": SHORT, "model": model}))
    within(lambda: proxy.counts("reports") == {"accepted": 2})
    assert proxy.counts("model_requests", "model") == {"mine": 2}
    with RankClient(daemon.target) as client:
        assert {m.model for m in client.quality().qualities if m.completions} == {"mine"}


def test_a_model_that_the_daemon_does_not_list_costs_the_others_nothing(start_engine, start_daemon, start_proxy):
    """It goes in arrival order; that is an answer of the daemon's, and no failure."""
    daemon = start_daemon(quality={"models": ["mine"]})
    proxy = start_proxy(start_engine(whole(ANSWER)), daemon.target)
    for model in ("a", "a", "a", "a", "mine"):
        run(post(proxy.port, {"prompt": SHORT, "model": model}))
    assert proxy.counts() == {"error:NOT_FOUND": 4, "ranked": 1}
    within(lambda: proxy.counts("reports") == {"accepted": 1})
