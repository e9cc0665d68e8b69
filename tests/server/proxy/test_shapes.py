"""What the daemon hears of a request's shape from `rankd proxy`, and that names in it go nowhere else."""

from urllib.request import urlopen

import pytest
from rankd_client import RequestShape
from rankd_client.integration.request_terms import TermSources
from support.fake_engine import post, run
from support.heard import heard

QUESTION, RESULT = "a short answer", "12 C, and it snows"
STEP, TENANT = "plan-the-secret-launch", "the-secret-team"
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather"}}]}
BLOCKS = [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": RESULT}]}]
LOOPS = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": QUESTION}, CALL, {"role": "tool", "content": RESULT}],
        "tools": TOOLS,
        "tool_choice": "required",
        "max_completion_tokens": 99,
    },
    "/v1/responses": {
        "input": [
            {"role": "user", "content": QUESTION},
            {"type": "function_call", "call_id": "1", "name": "weather"},
            {"type": "function_call_output", "call_id": "1", "output": RESULT},
        ],
        "tools": [{"type": "function", "name": "weather"}],
        "tool_choice": "required",
        "max_output_tokens": 99,
    },
    "/v1/messages": {
        "messages": [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "weather", "input": {}}]},
            {"role": "user", "content": BLOCKS},
        ],
        "tools": [{"name": "weather"}],
        "tool_choice": {"type": "any"},
        "max_tokens": 99,
    },
}
SHAPE = {"messages": 3, "tools": 1, "last_role": "tool", "tool_choice": "required"}


@pytest.fixture
def daemon(start_daemon):
    """A daemon that ranks what it is asked about."""
    return start_daemon(guard={"enabled": False})


@pytest.mark.parametrize("path", LOOPS)
def test_an_agents_step_is_told_from_the_next(start_engine, start_proxy, daemon, path):
    """By what the tool gave back, by its shape, and by the step's name in its header; of each API."""
    proxy = start_proxy(start_engine(), daemon.target)

    async def story():
        await post(proxy.port, LOOPS[path], path.encode(), fields=[(b"X-Rankd-Step", STEP.encode())])
        await post(proxy.port, LOOPS[path], path.encode())

    with heard(daemon) as requests:
        run(story())
    assert [r.shape for r in requests] == [RequestShape(**SHAPE, step=STEP), RequestShape(**SHAPE)]
    assert {r.prompt for r in requests} == {RESULT}


def test_the_step_stands_where_the_operator_says(start_engine, start_proxy, daemon):
    """In another header, in the body, or nowhere; the header goes before the body."""
    upstream = start_engine()
    body = {"prompt": QUESTION, "metadata": {"step": "inner"}}
    fields = [(b"X-Step", b"outer"), (b"X-Rankd-Step", b"default")]

    async def story(sources):
        proxy = start_proxy(upstream, daemon.target, asking={"terms": sources})
        await post(proxy.port, body, fields=fields)
        await post(proxy.port, body)

    with heard(daemon) as requests:
        for sources in (
            TermSources(),
            TermSources(step_header=b"x-step", step_field="metadata.step"),
            TermSources(step_header=b""),
        ):
            run(story(sources))
    assert [r.shape and r.shape.step for r in requests] == ["default", None, "outer", "inner", None, None]


def test_names_of_steps_and_tenants_are_neither_logged_nor_counted(start_engine, start_proxy, daemon, capfd):
    """Not by the proxy, nor by the daemon; nor are tools."""
    proxy = start_proxy(start_engine(), daemon.target, asking={"terms": TermSources(tenant_header=b"x-team")})
    fields = [(b"X-Rankd-Step", STEP.encode()), (b"X-Team", TENANT.encode())]
    path = "/v1/chat/completions"

    async def story():
        await post(proxy.port, LOOPS[path], path.encode(), fields=fields)
        await post(proxy.port, LOOPS[path], path.encode(), fields=[*fields, (b"X-Rankd-Step", STEP.encode() * 99)])
        return await post(proxy.metrics_port, b"", b"/metrics", method=b"GET")

    with heard(daemon) as requests:
        _, _, page = run(story())
    assert [(r.tenant, r.shape.step) for r in requests] == [(TENANT, STEP), (TENANT, "")]
    with urlopen(daemon.http + "/metrics") as answer:
        counted = answer.read()
    assert b"rankd_proxy_requests_total" in page
    assert b"rankd_" in counted
    shown = "".join([page.decode(), counted.decode(), *capfd.readouterr()])
    for name in (STEP, TENANT, "weather", RESULT):
        assert name not in shown
