"""What `rankd proxy` reports of answers that it saw, and that nothing of them is told elsewhere."""

import json

from support.fake_engine import EVENTS, post, run, streamed, whole, within

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
