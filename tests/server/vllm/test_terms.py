"""What the daemon hears of a request from rankd-vllm's middleware, and what the middleware learns of prompts."""

import json

import pytest
from rankd_client import RankClient, RequestShape
from rankd_client.integration import FinishedRequest, Reporter
from rankd_client.integration.request_terms import TermSources
from rankd_client.ordering import Objective
from rankd_client.ordering.serving_keys import CLASS_SPAN
from support.asgi_engine import Engine, post, run
from support.heard import heard
from support.vllm_middleware import middleware

SHORT, SYSTEM = "a short answer", "Be brief. " * 200
REQUESTS = {
    "/v1/completions": {"prompt": SYSTEM + SHORT},
    "/v1/chat/completions": {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": SHORT}]},
    "/v1/responses": {"instructions": SYSTEM, "input": SHORT},
    "/v1/messages": {"system": SYSTEM, "messages": [{"role": "user", "content": SHORT}], "max_tokens": 9},
}
SOURCES = TermSources(
    service_tiers=(("flex", 1), ("priority", -1)),
    class_header=b"x-class",
    tenant_header=b"x-team",
    tenant_field="user",
    deadline_header=b"x-deadline",
    objective_header=b"x-objective",
)


@pytest.mark.parametrize("path", REQUESTS)
def test_prompts_and_terms_reach_the_daemon(start_daemon, path):
    """On each endpoint; what nobody named as a source says nothing, but for what sets one back."""
    daemon = start_daemon(guard={"enabled": False})
    fields = [(b"X-Team", b"blue"), (b"X-Deadline", b"2.5"), (b"X-Objective", b"mean")]

    async def story():
        async with middleware(Engine(), daemon.target, terms=SOURCES) as app:
            await post(app, REQUESTS[path] | {"service_tier": "priority"}, path, fields)
            await post(app, REQUESTS[path] | {"user": "green"}, path, [(b"X-Class", b"-4")])
        async with middleware(Engine(), daemon.target) as app:
            await post(app, REQUESTS[path] | {"service_tier": "priority", "user": "red"}, path, fields)
            await post(app, REQUESTS[path] | {"service_tier": "flex"}, path)

    with heard(daemon) as requests:
        run(story())
    assert [(r.priority_class, r.tenant, r.deadline, r.objective) for r in requests] == [
        (-1, "blue", 2.5, Objective.MEAN), (-4, "green", None, None), (0, "", None, None), (1, "", None, None)
    ]  # fmt: skip
    assert {r.prompt_tokens for r in requests} == {round((len(SYSTEM) + len(SHORT)) / 4)}


def test_strict_classes_hold_when_the_daemon_is_gone(start_daemon):
    """In vLLM's header; and a class that would not be known is that of all."""
    daemon = start_daemon(guard={"enabled": False})

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target, terms=SOURCES) as app:
            for _ in range(2):
                for tier in ("flex", "default", "priority"):
                    await post(app, REQUESTS["/v1/completions"] | {"service_tier": tier})
                daemon.stop()
            await post(app, b"{", headers=[(b"X-Class", b"-1")])
        assert [round(engine.priority(at) / CLASS_SPAN) for at in range(7)] == [1, 0, -1, 1, 0, -1, -1]

    run(story())


def test_token_ids_are_ordered_by_their_number(start_daemon):
    """They have no text to score; how long they are is known to the token."""
    daemon = start_daemon(order={"prompt_cost": 0.1}, guard={"enabled": False})

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target) as app:
            await post(app, {"prompt": list(range(20_000))})
            await post(app, {"prompt": [1, 2]})
            assert len(app._predictions) == 0, "without a prediction there is nothing to report"
        assert engine.priority(1) < engine.priority(0)

    with heard(daemon) as requests:
        run(story())
    assert [r.prompt_tokens for r in requests] == [20_000, 2]


def test_what_vllm_counts_teaches_the_estimate(start_daemon):
    """Its stat logger knows both: reports carry them, and the next prompts are estimated by them."""
    daemon = start_daemon(guard={"enabled": False})
    turns = [{"role": "user", "content": "u" * 3000}, {"role": "assistant", "content": "a" * 3000}]
    body = {"messages": [*turns, {"role": "user", "content": "short " * 333}]}

    class Watched(RankClient):
        def report(self, completions, **options):
            reported.extend(completions)
            return super().report(completions, **options)

    reported = []

    async def story():
        async with middleware(Engine(), daemon.target) as app:
            reporter = Reporter(app._predictions, lambda: Watched(daemon.target))
            for number in range(120):
                name = str(number).encode()
                await post(app, body, "/v1/chat/completions", [(b"x-request-id", name)])
                reporter.put(FinishedRequest(f"chatcmpl-{number}", 9, "stop", None, 0.0, 1.0, 4000, 2400))
            reporter.close(20)
            await post(app, body, "/v1/chat/completions")

    with heard(daemon) as requests:
        run(story())
    assert (requests[0].prompt_tokens, requests[0].cached) == (2000, 0)
    assert (requests[-1].prompt_tokens, requests[-1].cached) == (
        pytest.approx(4000, rel=0.01),
        pytest.approx(2260, rel=0.03),
    )
    assert {(done.prompt_tokens, done.cached_prompt_tokens) for done in reported} == {(4000, 2400)}
    assert daemon.app.monitor.reported_windows()


def test_bytes_pass_as_they_came(daemon):
    """Header fields that are read for rankd go on to vLLM."""

    async def story():
        engine = Engine()
        async with middleware(engine, daemon.target, terms=SOURCES) as app:
            data = json.dumps(REQUESTS["/v1/completions"] | {"service_tier": "flex"}).encode()
            await post(app, data, headers=[(b"X-Team", b"blue")])
            assert (engine.bodies, engine.header(b"x-team")) == ([data], [b"blue"])

    run(story())


@pytest.mark.parametrize("path", REQUESTS)
def test_the_shape_of_a_request_and_its_step_reach_the_daemon(start_daemon, path):
    """By the header's default name; in no id, and in no log of the middleware's."""
    daemon = start_daemon(guard={"enabled": False})

    async def story():
        async with middleware(Engine(), daemon.target) as app:
            await post(app, REQUESTS[path] | {"tools": [{}, {}]}, path, [(b"X-Rankd-Step", b"plan")])
            await post(app, REQUESTS[path], path)

    with heard(daemon) as requests:
        run(story())
    messages = {"/v1/completions": 0, "/v1/chat/completions": 2}.get(path, 1)
    role = "" if path == "/v1/completions" else "user"
    assert [r.shape for r in requests] == [
        RequestShape(messages=messages, last_role=role, tools=2, step="plan"),
        RequestShape(messages=messages, last_role=role) if messages else None,
    ]
