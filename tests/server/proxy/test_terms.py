"""What the daemon hears of a request from `rankd proxy`: how long its prompt is, and what the request asks for."""

import gzip
import json
import time

import pytest
from rankd_client.integration.request_terms import TermSources
from rankd_client.ordering import Objective
from rankd_client.ordering.serving_keys import CLASS_SPAN
from support.fake_engine import post, run, streamed, whole, within
from support.heard import heard

SHORT, LONG = "a short answer", "a long long long answer"
SYSTEM = "Be brief. " * 200
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d" * 300, "parameters": {"type": "object"}}}]
PICTURE = "data:image/png;base64," + "A" * 9000
SOURCES = TermSources(
    service_tiers=(("flex", 1), ("priority", -1)),
    class_header=b"x-class",
    tenant_header=b"x-team",
    tenant_field="metadata.team",
    tenant_key=b"k" * 32,
    deadline_header=b"x-slo-ms",
    objective_header=b"x-objective",
)
CHAT = {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": SHORT}]}
REQUESTS = {
    "/v1/completions": {"prompt": SHORT + SYSTEM},
    "/v1/chat/completions": CHAT,
    "/v1/responses": {"instructions": SYSTEM, "input": SHORT},
    "/v1/messages": {"system": SYSTEM, "messages": [{"role": "user", "content": SHORT}], "max_tokens": 9},
}


@pytest.fixture
def daemon(start_daemon):
    """A daemon that orders by prompts as soon as it runs, and learns nothing."""
    fixed = {"patience_backlog_share": 0.0, "tune_every": 0, "recalibrate_every": 10**9, "prompt_cost": 0.1}
    return start_daemon(order=fixed, guard={"enabled": False})


@pytest.mark.parametrize("path", REQUESTS)
def test_all_that_the_model_reads_is_counted(start_engine, start_proxy, daemon, path):
    """Of each API: system and question are text of the prompt, though only the question is ranked."""
    proxy = start_proxy(start_engine(), daemon.target)
    with heard(daemon) as requests:
        run(post(proxy.port, REQUESTS[path], path.encode()))
    (request,) = requests
    assert request.prompt_tokens == pytest.approx((len(SYSTEM) + len(SHORT)) / 4, abs=1)
    assert (request.priority_class, request.tenant, request.deadline, request.cached) == (0, "", None, 0)


def test_tools_tool_results_and_token_ids_count_and_pictures_do_not(start_engine, start_proxy, daemon):
    """Of several prompts each; token ids exactly."""
    proxy = start_proxy(start_engine(), daemon.target)
    loop = [
        {"role": "user", "content": [{"type": "text", "text": SHORT}, {"type": "image_url", "image_url": PICTURE}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}" * 200}}]},
        {"role": "tool", "content": "x" * 1000},
    ]

    async def story():
        await post(proxy.port, {"messages": loop, "tools": TOOLS}, b"/v1/chat/completions")
        await post(proxy.port, {"prompt": [SHORT, LONG * 100]})
        await post(proxy.port, {"prompt": list(range(777))})

    with heard(daemon) as requests:
        run(story())
    tokens = [r.prompt_tokens for r in requests]
    assert tokens[0] == pytest.approx((1000 + 400 + 300 + len(SHORT)) / 4, abs=30)
    assert tokens[1:] == [round(len(SHORT) / 4), round(len(LONG) * 25), 777]


def test_token_ids_are_ordered_by_their_number(start_engine, start_proxy, daemon):
    """No text, no score: a short prompt goes before a long one, and without any token it is the arrival."""
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target)

    async def story():
        for prompt in (list(range(20_000)), [1, 2], []):
            await post(proxy.port, {"prompt": prompt})

    run(story())
    long, short, none = (seen.priority for seen in upstream.seen)
    assert short < long
    assert abs(none - time.time() * 1000) < 10_000
    assert proxy.counts() == {"no_text": 3}


ANSWERS = {
    "/v1/completions": {
        "choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 1007, "completion_tokens": 7}
    },
    "/v1/chat/completions": {
        "choices": [{"finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1007, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 400}},
    },
    "/v1/responses": {
        "status": "completed",
        "usage": {"input_tokens": 1007, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 400}},
    },
    "/v1/messages": {
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 600, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 400, "output_tokens": 7
        },
    },
}  # fmt: skip


def event(data):
    return b"data: " + json.dumps(data).encode() + b"\n\n"


STREAMS = {
    "/v1/completions": [event(ANSWERS["/v1/completions"])],
    "/v1/chat/completions": [
        event({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}),
        event(ANSWERS["/v1/chat/completions"] | {"choices": []}),
    ],
    "/v1/responses": [
        event({"type": "response.created", "response": {"usage": None}}),
        event({"type": "response.completed", "response": ANSWERS["/v1/responses"]}),
    ],
    "/v1/messages": [
        event({"type": "message_start", "message": {"usage": ANSWERS["/v1/messages"]["usage"] | {"output_tokens": 1}}}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
               "usage": {"input_tokens": 600, "output_tokens": 7}}),
        event({"type": "message_stop"}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ANSWERS)
def test_reports_say_what_the_engine_counted_of_the_prompt(start_engine, start_proxy, daemon, path, stream):
    """Cached ones included, whichever way the API counts; and prompts to come are estimated by it."""
    upstream = start_engine(streamed(STREAMS[path]) if stream else whole(json.dumps(ANSWERS[path]).encode()))
    proxy = start_proxy(upstream, daemon.target)
    put, reports = proxy.server._reporter.put, []
    proxy.server._reporter.put = lambda done: (reports.append(done), put(done))

    async def story():
        for _ in range(20):
            await post(proxy.port, REQUESTS[path] | {"stream": stream, "model": "m"}, path.encode())

    with heard(daemon) as requests:
        run(story())
    cached = 0 if path == "/v1/completions" else 400
    assert {(r.output_tokens, r.prompt_tokens, r.cached_prompt_tokens) for r in reports} == {(7, 1007, cached)}
    assert requests[0].prompt_tokens == pytest.approx(len(SYSTEM) / 4, abs=5)
    assert requests[-1].prompt_tokens == pytest.approx(1007, abs=5)
    within(lambda: proxy.counts("reports") == {"accepted": 20})


def test_what_an_engine_cached_of_conversations_is_expected_of_those_to_come(start_engine, start_proxy, daemon):
    """What went before in them, and only that: a question by itself is new."""
    usage = {"prompt_tokens": 1250, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 900}}
    upstream = start_engine(whole(json.dumps({"choices": [{"finish_reason": "stop"}], "usage": usage}).encode()))
    proxy = start_proxy(upstream, daemon.target)
    turns = [{"role": "user", "content": "u" * 2000}, {"role": "assistant", "content": "a" * 2000}]
    goes_on = {"messages": [*turns, {"role": "user", "content": "n" * 1000}]}

    async def story():
        for _ in range(60):
            await post(proxy.port, goes_on, b"/v1/chat/completions")
        await post(proxy.port, CHAT, b"/v1/chat/completions")

    with heard(daemon) as requests:
        run(story())
    assert requests[0].cached == 0
    assert (requests[-2].prompt_tokens, requests[-2].cached) == (1250, pytest.approx(900, rel=0.15))
    assert (requests[-1].cached, requests[-1].prompt_tokens > 400) == (0, True)


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        ([], {}, (0, "", None, None)),
        ([], {"service_tier": "flex"}, (1, "", None, None)),
        ([], {"service_tier": "priority"}, (-1, "", None, None)),
        ([], {"service_tier": "auto"}, (0, "", None, None)),
        ([], {"service_tier": ["flex"]}, (0, "", None, None)),
        ([(b"X-Class", b"-5")], {"service_tier": "flex"}, (-5, "", None, None)),
        ([(b"X-Class", b"100000")], {}, (127, "", None, None)),
        ([(b"X-Class", b"first")], {}, (0, "", None, None)),
        ([(b"X-Class", b"-5"), (b"X-Class", b"-9")], {}, (0, "", None, None)),
        ([(b"X-Team", "büro".encode())], {"metadata": {"team": "no"}}, (0, "büro", None, None)),
        ([(b"X-Team", b"x" * 300)], {"metadata": {"team": "yes"}}, (0, "yes", None, None)),
        ([], {"metadata": {"team": "\ud800"}}, (0, "", None, None)),
        ([], {"metadata": "yes"}, (0, "", None, None)),
        ([(b"X-Slo-Ms", b"15000")], {}, (0, "", 15.0, None)),
        ([(b"X-Slo-Ms", b"-1")], {}, (0, "", None, None)),
        ([(b"X-Slo-Ms", b"1e999")], {}, (0, "", None, None)),
        ([(b"X-Objective", b"Mean")], {}, (0, "", None, Objective.MEAN)),
        ([(b"X-Objective", b"makespan")], {}, (0, "", None, None)),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_terms_reach_the_daemon_and_nonsense_costs_nothing(
    start_engine, start_proxy, daemon, path, fields, body, expected
):
    """And header fields pass to the engine as they came."""
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target, asking={"terms": SOURCES})
    with heard(daemon) as requests:
        status, _, _ = run(post(proxy.port, REQUESTS[path] | body, path.encode(), fields=fields))
    (request,) = requests
    assert (request.priority_class, request.tenant, request.deadline, request.objective) == expected
    assert (status, proxy.counts()) == (200, {"ranked": 1})
    for name, value in fields:
        assert value in upstream.seen[0].values(name.lower())


def test_strangers_say_nothing_by_default(start_engine, start_proxy, daemon):
    """Whoever reaches the engine can write these; only going last is everybody's own to choose."""
    proxy = start_proxy(start_engine(), daemon.target)
    fields = [(name, b"-5") for name in (b"X-Class", b"X-Team", b"X-Slo-Ms", b"X-Objective", b"Authorization")]

    async def story():
        await post(proxy.port, CHAT | {"service_tier": "priority"}, b"/v1/chat/completions", fields=fields)
        await post(proxy.port, CHAT | {"service_tier": "flex", "user": "me"}, b"/v1/chat/completions")

    with heard(daemon) as requests:
        run(story())
    said = [(r.priority_class, r.tenant, r.deadline, r.objective) for r in requests]
    assert said == [(0, "", None, None), (1, "", None, None)]


def test_the_credential_names_a_tenant_and_is_not_told(start_engine, start_proxy, daemon):
    """One name for one key, however it is shown; another proxy's key makes another name of it."""
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target, asking={"terms": TermSources(tenant_key=b"k" * 32)})
    other = start_proxy(upstream, daemon.target, asking={"terms": TermSources(tenant_key=b"l" * 32)})

    async def story():
        for name, value in ((b"Authorization", b"Bearer sekret"), (b"X-Api-Key", b"sekret"), (b"X-Api-Key", b"other")):
            await post(proxy.port, CHAT, b"/v1/chat/completions", fields=[(name, value)])
        await post(proxy.port, CHAT, b"/v1/chat/completions")
        await post(other.port, CHAT, b"/v1/chat/completions", fields=[(b"X-Api-Key", b"sekret")])

    with heard(daemon) as requests:
        run(story())
    first, same, another, nobody, elsewhere = (r.tenant for r in requests)
    assert first == same
    assert len({first, another, nobody, elsewhere}) == 4
    assert (nobody, len(first), first[:4]) == ("", 20, "key-")


@pytest.mark.parametrize(("name", "sign"), [("vllm", 1), ("sglang", -1)])
def test_a_strict_class_holds_while_the_daemon_is_gone(start_engine, start_proxy, daemon, name, sign):
    """Known by its answers; and no priority is beyond what every JSON reader takes exactly."""
    upstream = start_engine(engine=name)
    proxy = start_proxy(upstream, daemon.target, asking={"terms": SOURCES})

    async def story():
        while not proxy.counts().get("ranked"):  # an address that another daemon had may be shunned for a moment
            await post(proxy.port, CHAT, b"/v1/chat/completions")
        upstream.seen.clear()
        for number in (b"0", b"-127", b"127"):
            await post(proxy.port, CHAT, b"/v1/chat/completions", fields=[(b"X-Class", number)])
        daemon.stop()
        for number in (b"0", b"-127", b"127") * 2:
            await post(proxy.port, CHAT, b"/v1/chat/completions", fields=[(b"X-Class", number)])

    run(story())
    priorities = [sign * seen.priority for seen in upstream.seen]
    assert [round(p / CLASS_SPAN) for p in priorities] == [0, -127, 127] * 3
    assert max(map(abs, priorities)) < 2**53
    assert proxy.counts()["circuit_open"] > 0


def test_weighted_classes_are_arrivals_while_the_daemon_is_gone(start_engine, start_proxy, start_daemon):
    """A step as of strict classes would keep one waiting for good."""
    daemon = start_daemon(order={"classes": "weighted"}, guard={"enabled": False})
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target)

    async def story():
        await post(proxy.port, CHAT | {"service_tier": "flex"}, b"/v1/chat/completions")
        daemon.stop()
        for _ in range(5):
            await post(proxy.port, CHAT | {"service_tier": "flex"}, b"/v1/chat/completions")

    run(story())
    assert all(abs(seen.priority - time.time() * 1000) < 60_000 for seen in upstream.seen)


def test_a_body_that_is_compressed_says_its_terms(start_engine, start_proxy, daemon):
    """As it is read, it is read whole."""
    proxy = start_proxy(start_engine(), daemon.target)
    body = gzip.compress(json.dumps(CHAT | {"service_tier": "flex"}).encode())
    with heard(daemon) as requests:
        run(post(proxy.port, body, b"/v1/chat/completions", fields=[(b"Content-Encoding", b"gzip")]))
    assert [r.priority_class for r in requests] == [1]


def test_reports_of_a_tenants_requests_are_taken(start_engine, start_proxy, daemon):
    """They are that tenant's to the daemon, which tells who sends the traffic."""
    upstream = start_engine(whole(json.dumps(ANSWERS["/v1/chat/completions"]).encode()))
    proxy = start_proxy(upstream, daemon.target, asking={"terms": SOURCES})

    async def story():
        for team in (b"blue", b"blue", b"green"):
            await post(proxy.port, CHAT, b"/v1/chat/completions", fields=[(b"X-Team", team)])

    run(story())
    within(lambda: proxy.counts("reports") == {"accepted": 3})
    named = daemon.app.ranker._tenants._named
    assert {name: tally.items for name, tally in named.items()} == {"blue": 2, "green": 1}


def test_a_token_of_one_tenant_acts_for_no_other(start_engine, start_proxy, start_daemon, tmp_path):
    """Such a question is refused, and the request goes in arrival order; those of others are ranked as before."""
    token = "t" * 40
    (tmp_path / "auth.toml").write_text(
        f'[[token]]\nname = "proxy"\ntoken = "{token}"\ntenant = "blue"\nroles = ["rank", "report"]\n'
    )
    (tmp_path / "auth.toml").chmod(0o600)
    daemon = start_daemon(auth={"file": str(tmp_path / "auth.toml")})
    upstream = start_engine()
    proxy = start_proxy(upstream, daemon.target, asking={"terms": SOURCES, "token": token})

    async def story():
        for team in [b"green"] * 5 + [b"blue"]:
            status, _, _ = await post(proxy.port, CHAT, b"/v1/chat/completions", fields=[(b"X-Team", team)])
            assert status == 200

    run(story())
    assert all(abs(seen.priority - time.time() * 1000) < 60_000 for seen in upstream.seen[:5])
    counts = proxy.counts()
    assert counts.pop("error:PERMISSION_DENIED") == 5
    assert sum(counts.values()) == 1
    assert "circuit_open" not in counts
